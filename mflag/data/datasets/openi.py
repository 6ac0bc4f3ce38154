"""Open-i's Indiana collection: XML reports with MeSH terms, and their PNG or DICOM images."""

import hashlib
import os
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.datasets.file_walk import walk_files
from mflag.data.datasets.label_tables import (
    choose_split,
    existing_root,
    read_label_table,
    refuse_values,
)
from mflag.data.datasets.listed_splits import list_hashes, split_by_user_lists
from mflag.data.datasets.openi_labels import LABELERS, label_columns
from mflag.data.datasets.openi_reports import (
    ARCHIVE,
    BrokenReport,
    Report,
    find_reports,
    parse_report,
    read_files,
)
from mflag.data.datasets.recognise import refuse_wrong_folder
from mflag.data.datasets.source import Record, Rejection, Source, refuse_unread_keys
from mflag.data.datasets.view_filter import select_views
from mflag.data.funnel import Funnel
from mflag.data.images import read_grey
from mflag.data.report_sections import check_sections, compose_text, count_words
from mflag.data.splits import split_by_patient
from mflag.errors import InputError
from mflag.runtime.atomic_write import file_sha256

SPLITS = ("patient", "id_lists")
SECTIONS = ("impression", "findings", "comparison", "indication")
PUBLISHED_IMAGES = 7_470
_OPTIONS = ("views", "split", "reports_root", "labels", "sections", "min_words")
_LISTS = ("test_ids", "valid_ids")
_ENDINGS = (".png", ".dcm", ".jpg")
_NUMBERED = re.compile(r"^(CXR\d+)_\d+_IM")  # CXR1_1_IM-0001-3001: two of 7,470 are so
_COLUMNS = ("id", "patient", "study", "split", "text", "view")


@dataclass
class _Plan:
    """The images that are left, of ``everyone`` with a readable report."""

    table: pd.DataFrame
    everyone: pd.DataFrame
    funnel: Funnel
    rejected: list[Rejection] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def keep(self, step: str, is_good: pd.Series, reasons: pd.Series | str, by_rule: bool) -> None:
        """Drop rows with a reason each and note the step."""
        bad = self.table[~is_good]
        why = reasons[bad.index] if isinstance(reasons, pd.Series) else [reasons] * len(bad)
        self.rejected += [
            Rejection(row, name, reason, by_rule)
            for row, name, reason in zip(bad.index.tolist(), bad["file"], why, strict=True)
        ]
        self.table = self.table[is_good]
        self.funnel.add(step, len(self.table))


def read(config: PrepareConfig) -> Source:
    """Read all reports, choose views and texts, and find the images in one walk.

    Raises:
        InputError: keys, the reports, the table of views or the images cannot be used.
    """
    dataset = config.dataset
    keys = {"root", "csv", *(f"dataset.{key}" for key in (*_OPTIONS, *_LISTS))}
    refuse_unread_keys(config, keys)
    root = existing_root(config)
    _check_options(dataset)
    path = _reports_path(root, dataset.reports_root)
    files = read_files(path)
    plan = _plan_rows(files, dataset.labels)
    _select_views(plan, config.csv, dataset.views)
    _compose_texts(plan, dataset)
    _find_images(plan, root)
    _split(plan, dataset)
    kept = plan.table
    return Source(
        options={
            "root": config.root,
            "csv": config.csv,
            "csv_sha256": None if config.csv is None else file_sha256(Path(config.csv)),
            "reports_sha256": _digest(files),
            **{key: getattr(dataset, key) for key in _OPTIONS},
            **list_hashes(dataset),
        },
        items=kept["path"].tolist(),
        rows=kept.index.tolist(),
        files=kept["file"].tolist(),
        load=load,
        build_tables=partial(_build_tables, kept),
        where=str(path),
        funnel=plan.funnel,
        prefer="threads",
        rejected=plan.rejected,
        remarks=plan.remarks,
        root=str(root),
        images=kept["path"].tolist(),
    )


def load(path: str) -> tuple[np.ndarray, Record]:
    """Decode one image; all else is in the table."""
    return read_grey(path), {}


def _check_options(dataset: DatasetConfig) -> None:
    choose_split(dataset, SPLITS)
    check_sections(dataset.sections or (), SECTIONS)
    if dataset.labels is not None and dataset.labels not in LABELERS:
        raise InputError(
            f"dataset.labels is {dataset.labels!r}; choose {' or '.join(LABELERS)}, or null"
        )
    if (dataset.min_words or 0) < 0:
        raise InputError(f"dataset.min_words is {dataset.min_words}; give 0 or more")


def _reports_path(root: Path, reports_root: str | None) -> Path:
    top = root if reports_root is None else Path(reports_root)
    if not top.is_dir():
        raise InputError(f"dataset.reports_root is {reports_root!r}, which is no folder")
    return find_reports(top) or refuse_wrong_folder(top, "openi", ARCHIVE)


def _digest(files: list[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for name, content in files:
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _plan_rows(files: list[tuple[str, bytes]], labeler: str | None) -> _Plan:
    """A row an image; a broken report is one row too, so that the funnel counts it."""
    reports: list[Report] = []
    rows: list[tuple[str, str, int, str]] = []
    seen: dict[str, str] = {}
    owner: dict[str, str] = {}
    empty = 0
    for name, content in files:
        try:
            report = parse_report(content)
            if report.id in seen:
                raise BrokenReport(f"report id {report.id} is that of {seen[report.id]} too")
        except BrokenReport as error:
            rows.append((name, "", -1, str(error)))
            continue
        seen[report.id] = name
        empty += not report.images
        for image in report.images:
            reason = f"image is that of {owner[image]} too" if image in owner else ""
            owner.setdefault(image, name)
            rows.append((image, image, len(reports), reason))
        reports.append(report)
    table = pd.DataFrame(rows, columns=["file", "id", "report", "reason"])
    note = f"{len(files):,} reports" + (f", {empty:,} of them without an image" if empty else "")
    funnel = Funnel()
    funnel.add("image of a report", len(table), PUBLISHED_IMAGES, note)
    plan = _Plan(table, table, funnel)
    plan.keep("report readable, ids unique", table["reason"] == "", table["reason"], False)
    if plan.table.empty:
        first = f"{rows[0][0]}: {rows[0][3]}" if rows else "they name no image"
        raise InputError(f"none of the {len(files):,} reports can be used ({first})")
    plan.table = plan.everyone = _with_facts(plan.table, reports, labeler)
    return plan


def _with_facts(table: pd.DataFrame, reports: list[Report], labeler: str | None) -> pd.DataFrame:
    places = table["report"].to_numpy()
    study = np.array([report.id for report in reports], object)[places]
    sections = pd.Series([report.sections for report in reports], dtype=object)
    facts = table[["file", "id"]].assign(
        patient=study, study=study, view="", sections=sections.iloc[places].to_numpy()
    )
    if labeler is None:
        return facts
    labels = label_columns(reports, labeler).iloc[places].set_axis(table.index)
    return pd.concat([facts, labels], axis=1)


def _select_views(plan: _Plan, csv: str | None, views: list[str] | None) -> None:
    if csv is None:
        if views is not None:
            plan.remarks.append(
                "note: csv is not given, so views are unknown and lateral images stay in; "
                "csv=nlmcxr_dicom_metadata.csv.gz tells them"
            )
        return
    path = Path(csv)
    if not path.is_file():
        raise InputError(f"csv is {csv!r}, which is no file; give nlmcxr_dicom_metadata.csv.gz")
    headers = read_label_table(path, ["imageid", "View Position"], "the DICOM headers of Open-i")
    views_by_id = _views_by_id(headers, path)
    view = plan.table["id"].map(views_by_id)
    view = view.fillna(plan.table["id"].map(_short_id).map(views_by_id)).fillna("")
    plan.table = plan.table.assign(view=view)
    if views is None:
        return
    is_wanted, note = select_views(view, views, str(path))
    plan.table = plan.table[is_wanted]
    plan.funnel.add(f"view {' or '.join(views)}", len(plan.table), note=note)


def _views_by_id(headers: pd.DataFrame, path: Path) -> pd.Series:
    view = headers["View Position"].fillna("").astype(str).str.strip().str.upper()
    pairs = headers.assign(view=view)[["imageid", "view"]].drop_duplicates()
    twice = pairs["imageid"].duplicated()
    refuse_values(pairs["imageid"], twice, path, "one View Position an image")
    return pairs.set_index("imageid")["view"]


def _compose_texts(plan: _Plan, dataset: DatasetConfig) -> None:
    wanted, least = dataset.sections or [], dataset.min_words or 0
    text = pd.Series(
        [compose_text(sections, wanted) for sections in plan.table["sections"]],
        plan.table.index,
        dtype=object,
    )
    plan.table = plan.table.assign(text=text)
    if not wanted or least == 0:
        return
    words = plan.table["text"].map(count_words)
    reason = f"report has no {' or '.join(wanted)}"
    plan.keep(f"text in {', '.join(wanted)}", words > 0, reason, True)
    if least == 1:
        return
    words = words[words > 0]
    reasons = "text has " + words.astype(str) + f" of {least} words"
    plan.keep(f"text of {least} words or more", words >= least, reasons, True)


def _find_images(plan: _Plan, root: Path) -> None:
    paths = _walk(root, set(plan.table["id"]))
    path = plan.table["id"].map(paths)
    if path.notna().sum() == 0 and len(plan.table):
        raise InputError(
            f"none of the {len(plan.table):,} images is below root {str(root)!r}, for one "
            f"{plan.table['id'].iloc[0]}.png; unpack NLMCXR_png.tgz or NLMCXR_dcm.tgz there"
        )
    plan.table = plan.table.assign(path=path)
    plan.keep("file present", path.notna(), "missing file", False)


def _short_id(image: str) -> str:
    """What the DICOM files and headers call an image: without a number between report and IM."""
    return _NUMBERED.sub(r"\1_IM", image)


def _walk(root: Path, wanted: set[str]) -> dict[str, str]:
    """Files by image id: ``CXR1_1_IM-0001-3001.png``, or ``1_IM-0001-3001.dcm`` of the DICOM set.

    Where an image is there in several forms, the first of PNG, DICOM and JPEG is taken.

    Raises:
        InputError: two files of that form have one id.
    """
    found: dict[str, list[tuple[int, str]]] = {}
    full_id = {_short_id(image): image for image in wanted}
    for folder, name in walk_files(root):
        stem, ending = os.path.splitext(name)
        image = stem if stem in wanted else full_id.get(f"CXR{stem}")
        if image is not None and ending.lower() in _ENDINGS:
            rank = _ENDINGS.index(ending.lower())
            found.setdefault(image, []).append((rank, os.path.join(folder, name)))
    for image, files in found.items():
        files.sort()
        if len(files) > 1 and files[0][0] == files[1][0]:
            raise InputError(
                f"{image} is at {files[0][1]} and at {files[1][1]}; leave one of them below root"
            )
    return {image: files[0][1] for image, files in found.items()}


def _split(plan: _Plan, dataset: DatasetConfig) -> None:
    if dataset.split == "patient":
        plan.table = plan.table.assign(split=split_by_patient(plan.table["patient"]))
        return
    is_kept = pd.Series(plan.everyone.index.isin(plan.table.index), plan.everyone.index)
    split, remarks = split_by_user_lists(plan.everyone, is_kept, dataset, str)
    plan.remarks += remarks
    plan.table = plan.table.assign(split=split.loc[plan.table.index])


def _build_tables(table: pd.DataFrame, kept: list[int], _: list[Record]) -> dict[str, pd.DataFrame]:
    labels = [name for name in table.columns if name.startswith("label/")]
    return {"manifest.parquet": table.iloc[kept][[*_COLUMNS, *labels]]}
