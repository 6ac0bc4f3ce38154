"""MIMIC-CXR-JPG 2.0.0 and 2.1.0 with the reports of MIMIC-CXR."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.datasets.label_tables import existing_root
from mflag.data.datasets.listed_splits import list_hashes
from mflag.data.datasets.mimic_cxr_tables import image_file, plan_images
from mflag.data.datasets.recognise import refuse_wrong_folder
from mflag.data.datasets.source import Record, Source, refuse_unread_keys
from mflag.data.images import read_grey
from mflag.data.rejected import IMAGE_READABLE, LeftOut, Rejected
from mflag.data.report_sections import check_sections, compose_text, count_words, report_sections
from mflag.errors import InputError
from mflag.runtime.atomic_write import file_sha256

_OPTIONS = (
    "views", "split", "test_ids", "valid_ids", "reports_root", "labels", "sections", "min_words",
)  # fmt: skip
_COLUMNS = ("id", "patient", "study", "split", "text", "view")
# Image-text pairs of MIMIC-CXR and of M-FLAG's pre-training: https://arxiv.org/abs/2307.08347
_PAIRS, _PAIRS_USED = 227_827, 213_384
_REPORT_PRESENT, _IMAGE_PRESENT = "report present", "image present"
MAX_REPORT_BYTES = 1 << 20
_LOOKED_AT = 500  # files that a wrong folder is told by


@dataclass(frozen=True)
class Reading:
    """How a study becomes an image and a text; small, the same for all.

    Attributes:
        images: folder that image paths start from.
        reports: folder that report paths start from; None reads no reports.
        sections: of the report that make the text.
        min_words: shortest text that is kept.
    """

    images: str
    reports: str | None
    sections: tuple[str, ...]
    min_words: int

    @property
    def sections_present(self) -> str:
        """Name of the funnel's step that wants one of the sections."""
        return f"text in {', '.join(self.sections)}"

    @property
    def long_enough(self) -> str:
        """Name of the funnel's step that wants a text of some length."""
        return f"text of {self.min_words} words or more"

    @property
    def steps(self) -> dict[str, int | None]:
        """The funnel's steps that ``load`` decides, with published numbers."""
        steps: dict[str, int | None] = {}
        if self.reports is not None:
            steps[_REPORT_PRESENT] = _PAIRS
            if self.min_words > 0:
                steps[self.sections_present] = None
            if self.min_words > 1:
                steps[self.long_enough] = None
        return steps | {_IMAGE_PRESENT: None, IMAGE_READABLE: _PAIRS_USED}


def read(config: PrepareConfig) -> Source:
    """Choose images by the tables; texts and images are read by ``load``, so a kill costs little.

    Raises:
        InputError: keys, tables or folders do not fit; the message says which.
    """
    dataset = config.dataset
    refuse_unread_keys(config, {"root", *(f"dataset.{key}" for key in _OPTIONS)})
    root = existing_root(config)
    sections, min_words = _check_text_options(dataset)
    plan = plan_images(root, dataset)
    names = plan.table[["id", "patient", "study"]]
    items = [image_file(row) for row in names.itertuples(index=False, name=None)]
    images = _images_folder(root, items)
    reports = _reports_folder(root, dataset.reports_root, items) if sections else None
    reading = Reading(str(images), reports, sections, min_words)
    hashes = {path.name: file_sha256(path) for path in plan.files}
    options = {key: getattr(dataset, key) for key in _OPTIONS}
    return Source(
        options={"root": config.root, **options, **list_hashes(dataset), "sha256": hashes},
        items=items,
        rows=plan.table.index.tolist(),
        files=[f"files/{item}" for item in items],
        load=partial(load, reading),
        build_tables=partial(_build_tables, plan.table),
        where=f"root {str(root)!r}",
        funnel=plan.funnel,
        prefer="threads",  # decoding takes the time, and Pillow decodes without the lock
        rejected=plan.rejected,
        load_steps=reading.steps,
        remarks=plan.remarks,
        root=str(root),
        images=[os.path.join(images, item) for item in items],
    )


def load(reading: Reading, item: str) -> tuple[np.ndarray, Record]:
    """Read one study's text, then its image: what has no text is not decoded.

    Raises:
        Rejected: no report or image, or a broken one; ``LeftOut``: a text too short.
    """
    text = ""
    if reading.reports is not None:
        text = _read_text(reading, item)
    path = os.path.join(reading.images, item)
    if not os.path.isfile(path):
        raise Rejected("missing file", _IMAGE_PRESENT)
    return read_grey(path), {"text": text}


def read_report(path: str) -> str:
    """Read a report file.

    Raises:
        Rejected: missing, unreadable, larger than 1 MiB, or not text.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_REPORT_BYTES + 1)
    except FileNotFoundError as error:
        raise Rejected("missing report", _REPORT_PRESENT) from error
    except OSError as error:
        raise Rejected(f"report cannot be read: {error.strerror}", _REPORT_PRESENT) from error
    if len(content) > MAX_REPORT_BYTES:
        raise Rejected("report larger than 1 MiB", _REPORT_PRESENT)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise Rejected("report is no UTF-8 text", _REPORT_PRESENT) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_text(reading: Reading, item: str) -> str:
    folder = os.path.dirname(item)  # p10/p10000032/s50414267; its report stands beside it
    report = read_report(os.path.join(str(reading.reports), f"{folder}.txt"))
    study = os.path.basename(folder).removeprefix("s")
    text = compose_text(report_sections(report, study), reading.sections)
    words = count_words(text)
    if reading.min_words > 0 and words == 0:
        names = " or ".join(reading.sections)
        raise LeftOut(f"report has no {names}", reading.sections_present)
    if words < reading.min_words:
        raise LeftOut(f"text has {words} of {reading.min_words} words", reading.long_enough)
    return text


def _build_tables(
    table: pd.DataFrame, kept: list[int], records: list[Record]
) -> dict[str, pd.DataFrame]:
    manifest = table.iloc[kept].assign(text=[record["text"] for record in records])
    rest = [name for name in manifest.columns if name not in _COLUMNS]
    return {"manifest.parquet": manifest[[*_COLUMNS, *rest]]}


def _check_text_options(dataset: DatasetConfig) -> tuple[tuple[str, ...], int]:
    sections, min_words = tuple(dataset.sections or ()), dataset.min_words or 0
    check_sections(sections)
    if min_words < 0:
        raise InputError(f"dataset.min_words is {min_words}; give 0 or more")
    if not sections and dataset.reports_root is not None:
        raise InputError(
            f"dataset.reports_root is {dataset.reports_root!r}, but dataset.sections is empty, so "
            "no report is read; leave one of them out"
        )
    return sections, min_words


def _images_folder(root: Path, items: Sequence[str]) -> Path:
    folder = root / "files"
    if not folder.is_dir():
        refuse_wrong_folder(root, "mimic_cxr", "files/ with the images")
    if not _any_exists(folder, items):
        raise InputError(
            f"none of the images that the tables name is in {folder}, for one {items[0]!r}; "
            "download the files of MIMIC-CXR-JPG there"
        )
    return folder


def _reports_folder(root: Path, reports_root: str | None, items: Sequence[str]) -> str:
    top = root if reports_root is None else Path(reports_root)
    if not top.is_dir():
        raise InputError(
            f"dataset.reports_root is {reports_root!r}, which is no folder; give the folder that "
            "mimic-cxr-reports.zip was unpacked in"
        )
    reports = [f"{os.path.dirname(item)}.txt" for item in items]
    for folder in (top / "files", top / "mimic-cxr-reports" / "files", top):
        if _any_exists(folder, reports):
            return str(folder)
    raise InputError(
        f"no report is in {top}, for one files/{reports[0]}; unpack mimic-cxr-reports.zip of "
        "MIMIC-CXR and set dataset.reports_root, or set dataset.sections=[] to go without reports"
    )


def _any_exists(folder: Path, names: Sequence[str]) -> bool:
    """Whether one of some names, spread over all, is a file: so a part of a dataset is enough."""
    step = max(1, len(names) // _LOOKED_AT)
    return any(os.path.isfile(os.path.join(folder, name)) for name in names[::step])
