"""A CSV file with a row an image, and a folder of PNG, JPEG or DICOM files."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.datasets.label_tables import BROKEN_TABLE
from mflag.data.datasets.recognise import looks_like
from mflag.data.datasets.source import Record, Rejection, Source, refuse_unread_keys
from mflag.data.dicom import SUFFIXES, require_pydicom
from mflag.data.funnel import Funnel
from mflag.data.images import read_grey
from mflag.data.manifest import LABEL_PREFIX, column_names
from mflag.data.splits import canonical_splits, check_splits
from mflag.errors import InputError
from mflag.runtime.atomic_write import file_sha256

COLUMN_KEYS = ("image_column", "text_column", "patient_column", "split_column")
CIRCUMSTANCES = ("study", "view", "sex", "age")
_KEYS = {"root", "csv", *(f"dataset.{key}" for key in (*COLUMN_KEYS, "label_columns"))}
# Under its usual name such a column is used when it is there; under another name it must be.
_OPTIONAL = {"patient_column": "patient", "split_column": "split"}

# Name of the step, reason of those it drops, whether (image, text) passes.
_Filter = tuple[str, str, Callable[[str, str], bool]]
_SEXES = {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F"}


def read(config: PrepareConfig) -> Source:
    """Read the table, check it, and drop the rows whose image or report cannot be there.

    Raises:
        InputError: file, folder or columns are missing, ids come twice, a patient is in two
            splits, or no image exists.
    """
    refuse_unread_keys(config, _KEYS)
    csv, root = _existing_paths(config)
    raw = _read_strings(csv)
    columns = _find_columns(config.dataset, list(raw.columns), csv, root)
    table = _build_table(raw, columns, csv)
    labels = _read_labels(raw, config.dataset.label_columns, set(columns.values()), csv)
    taken = {*columns.values(), *column_names(labels, LABEL_PREFIX)}
    table = pd.concat([table, _read_circumstances(raw, taken, table["id"]), labels], axis=1)
    funnel = Funnel()
    funnel.add(f"rows of {csv.name}", len(table))
    filters = _filters(root, has_reports="text_column" in columns)
    kept, rejected = _filter_rows(table, root, filters, funnel)
    if kept["id"].str.lower().str.endswith(SUFFIXES).any():
        require_pydicom()
    names = {key: value for key, value in vars(config.dataset).items() if f"dataset.{key}" in _KEYS}
    return Source(
        options={"root": config.root, "csv": config.csv, "csv_sha256": file_sha256(csv), **names},
        items=[str(root / name) for name in kept["id"]],
        rows=kept.index.tolist(),
        files=kept["id"].tolist(),
        load=load,
        build_tables=lambda numbers, _: {"manifest.parquet": kept.iloc[numbers]},
        where=str(csv),
        funnel=funnel,
        prefer="threads",  # Pillow works without the lock; 243 images: 2 s, processes 5 s
        rejected=rejected,
        root=str(root),
        images=[str(root / name) for name in kept["id"]],
    )


def load(path: str) -> tuple[np.ndarray, Record]:
    """Decode one image; all else is in the table."""
    return read_grey(path), {}


def _existing_paths(config: PrepareConfig) -> tuple[Path, Path]:
    for key, value in (("csv", config.csv), ("root", config.root)):
        if value is None:
            hint = _other_dataset(config.root)
            raise InputError(f"{key} is missing; dataset=csv needs root=DIR csv=FILE{hint}")
    csv, root = Path(str(config.csv)), Path(str(config.root))
    if not root.is_dir():
        raise InputError(f"root is {str(root)!r}, which is no folder; give the images' folder")
    if not csv.is_file():
        raise InputError(f"csv is {str(csv)!r}, which is no file; give the table of the studies")
    return csv, root


def _read_strings(csv: Path) -> pd.DataFrame:
    try:  # as text: patient 007 keeps its zeros, a report "NA" is no missing value
        # header=None: names stay as they are, and a row longer than the header is an error, where
        # pandas would take its first field for an index and shift the others.
        lines = pd.read_csv(
            csv,
            dtype=str,
            header=None,
            index_col=False,
            keep_default_na=False,
            encoding="utf-8-sig",
            low_memory=False,
        )
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{csv} is empty; give a header line and a row an image") from error
    except BROKEN_TABLE as error:
        raise InputError(f"{csv} cannot be read as UTF-8 CSV ({error}); repair it") from error
    names = lines.iloc[0]
    repeated = names[names.duplicated() & (names != "")]
    if len(repeated):
        raise InputError(
            f"{csv} has more than one column {repeated.iloc[0]!r}; give each a name of its own"
        )
    raw = lines.iloc[1:].reset_index(drop=True)
    raw.columns = pd.Index([name or f"Unnamed: {place}" for place, name in enumerate(names)])
    if raw.empty:
        raise InputError(f"{csv} has a header but no rows; give a row an image")
    return raw


def _other_dataset(root: str | Path | None) -> str:
    other = looks_like(Path(root)) if root is not None and Path(root).is_dir() else None
    return f". Root looks like {other}: choose dataset={other}" if other else ""


def _find_columns(
    dataset: DatasetConfig, found: list[str], csv: Path, root: Path
) -> dict[str, str]:
    """The column names by key, without the optional ones that are not there."""
    wanted = {key: getattr(dataset, key) for key in COLUMN_KEYS}
    absent = {
        key: name
        for key, name in wanted.items()
        if name not in found and not (key in _OPTIONAL and name in (None, _OPTIONAL[key]))
    }
    if wanted["text_column"] is None:  # asked for: a dataset without reports
        absent.pop("text_column")
    if absent:
        raise InputError(
            f"{csv} has no column {', '.join(repr(name) for name in absent.values())}; it has: "
            f"{', '.join(found)}. Set {', '.join(f'dataset.{key}' for key in absent)}"
            f"{_other_dataset(root)}"
        )
    return {key: name for key, name in wanted.items() if name in found}


def _build_table(raw: pd.DataFrame, columns: dict[str, str], csv: Path) -> pd.DataFrame:
    ids = raw[columns["image_column"]].str.strip()
    twice = ids[ids.duplicated() & (ids != "")]
    if len(twice):
        raise InputError(
            f"image {twice.iloc[0]!r} is in {csv} more than once (row {twice.index[0] + 1}; "
            f"{len(twice)} such rows); keep one row an image"
        )
    table = pd.DataFrame({"id": ids, "patient": ids})
    if "patient_column" in columns:
        patient = raw[columns["patient_column"]].str.strip()
        table["patient"] = patient.where(patient != "", ids)
    if "split_column" in columns:
        table["split"] = canonical_splits(raw[columns["split_column"]], str(csv))
        check_splits(table["patient"], table["split"], str(csv))
    table["text"] = raw[columns["text_column"]].str.strip() if "text_column" in columns else ""
    return table


def _read_labels(
    raw: pd.DataFrame, wanted: list[str] | None, used: set[str], csv: Path
) -> pd.DataFrame:
    """Columns of 1, 0, -1 or empty as float32; uncertain stays -1, empty becomes NaN.

    A circumstance, say sex coded 0 and 1, is a label only where it is asked for.
    """
    labels: dict[str, Any] = {}
    for name in (
        wanted if wanted is not None else [n for n in raw.columns if n not in CIRCUMSTANCES]
    ):
        if name not in raw.columns:
            raise InputError(
                f"label column {name!r} is not in {csv}; it has: {', '.join(raw.columns)}. "
                "Set dataset.label_columns"
            )
        text = raw[name].str.strip()
        values = pd.to_numeric(text.where(text != ""), errors="coerce")
        is_label = bool((values.isin([0, 1, -1]) | (text == "")).all() and (text != "").any())
        if is_label and name not in used:
            labels[LABEL_PREFIX + name] = values.astype(np.float32)
        elif wanted is not None:
            raise InputError(
                f"column {name!r} of {csv} cannot be a label: labels are 1, 0, -1 (uncertain) "
                "or empty; leave it out of dataset.label_columns"
            )
    return pd.DataFrame(labels, index=raw.index)


def _read_circumstances(raw: pd.DataFrame, taken: set[str], ids: pd.Series) -> pd.DataFrame:
    """The columns ``study``, ``view``, ``sex`` and ``age``, as far as they are there and free."""
    found: dict[str, Any] = {}
    for name in CIRCUMSTANCES:
        if name not in raw.columns or name in taken:
            continue
        text = raw[name].str.strip()
        if name == "study":
            found[name] = text.where(text != "", ids)
        elif name == "view":
            found[name] = text.str.upper()
        elif name == "sex":
            found[name] = text.str.upper().map(_SEXES).fillna("")
        else:
            found[name] = pd.to_numeric(text, errors="coerce").astype(np.float32)
    return pd.DataFrame(found, index=raw.index)


def _filter_rows(
    table: pd.DataFrame, root: Path, filters: list[_Filter], funnel: Funnel
) -> tuple[pd.DataFrame, list[Rejection]]:
    rejected: list[Rejection] = []
    for name, reason, is_good in filters:
        pairs = zip(table["id"], table["text"], strict=True)
        good = np.array([is_good(image, text) for image, text in pairs], bool)
        dropped = table["id"][~good]
        rows = dropped.index.tolist()
        rejected += [Rejection(row, dropped[row], reason) for row in rows]
        if reason == "missing file" and len(table) and not good.any():
            raise InputError(
                f"none of the {len(table)} images is under root {str(root)!r}, for one "
                f"{table['id'].iloc[0]!r}; set root to the folder that the paths start from"
            )
        table = table[good]
        funnel.add(name, len(table))
    return table, rejected


def _filters(root: Path, has_reports: bool) -> list[_Filter]:
    top = os.path.abspath(root)
    of_images: list[_Filter] = [
        ("image named", "no image path", lambda image, _: image != ""),
        ("path inside root", "path leaves root", lambda image, _: _is_inside(top, image)),
        ("file present", "missing file", lambda image, _: _is_file(top, image)),
    ]
    of_reports: list[_Filter] = [
        ("report not empty", "empty report", lambda _, text: text != ""),
    ]
    return of_images + (of_reports if has_reports else [])


def _is_inside(top: str, name: str) -> bool:
    # By the name alone: links below root may lead where the archive's owner wants.
    return os.path.abspath(os.path.join(top, name)).startswith(os.path.join(top, ""))


def _is_file(top: str, name: str) -> bool:
    return os.path.isfile(os.path.join(top, name))
