"""Label tables as their publishers give them: found, read and checked for their release."""

import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.manifest import LABEL_PREFIX
from mflag.errors import InputError

# What pandas raises for a table that is broken, or packed and cut short, damaged or not alone; its
# ValueError is also that of its parser and of text that is not UTF-8.
BROKEN_TABLE = (
    ValueError,
    pd.errors.ParserWarning,
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
)


def existing_root(config: PrepareConfig) -> Path:
    """Return ``root`` as a folder that is there.

    Raises:
        InputError: not given, or no folder.
    """
    name = config.dataset.name
    if config.root is None:
        raise InputError(f"root is missing; dataset={name} needs root=DIR, the folder of {name}")
    root = Path(config.root)
    if not root.is_dir():
        raise InputError(f"root is {str(root)!r}, which is no folder; give the folder of {name}")
    return root


def find_table(root: Path, *names: str) -> Path | None:
    """Return the first of some files that is in ``root``, as it is or packed by gzip."""
    candidates = [root / (name + ending) for name in names for ending in ("", ".gz")]
    return next((path for path in candidates if path.is_file()), None)


def read_label_table(path: Path, wanted: Sequence[str], release: str) -> pd.DataFrame:
    """Read a table and insist on the columns of a release.

    Args:
        path: CSV, also packed by gzip.
        wanted: columns that must be there; others may be.
        release: what the table should be, for the error.

    Returns:
        The wanted columns in that order; types as pandas infers them.

    Raises:
        InputError: the file cannot be read, has no rows, or lacks columns.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # index_col: a comma that ends every row must not shift the columns.
            table = pd.read_csv(path, index_col=False, encoding="utf-8-sig", low_memory=False)
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{path} is empty; it should be {release}") from error
    except BROKEN_TABLE as error:
        raise InputError(f"{path} cannot be read as CSV ({error}); download it again") from error
    absent = [name for name in wanted if name not in table.columns]
    if absent:
        raise InputError(
            f"{path} is no table of {release}: it has the columns {_listed(list(table.columns))}; "
            f"wanted are also {_listed(absent)}"
        )
    if table.empty:
        raise InputError(f"{path} has a header but no rows; it should be {release}")
    return table[list(wanted)]


def refuse_values(column: pd.Series, bad: pd.Series, path: Path, wanted: str) -> None:
    """Refuse a table in which a column has values that no release has.

    Args:
        column: the values.
        bad: (n,) bool, where they are wrong.
        path: the table.
        wanted: what the values should be.

    Raises:
        InputError: some are wrong; it shows the first.
    """
    if bad.any():
        row = int(bad.to_numpy().argmax())
        value = column.tolist()[row]  # Python's own type: its repr is what people wrote
        raise InputError(
            f"{column.name} is {value!r} in row {row + 1} of {path} "
            f"({int(bad.sum()):,} such rows); wanted is {wanted}"
        )


def uncertain_labels(raw: pd.DataFrame, names: Sequence[str], path: Path) -> pd.DataFrame:
    """Read label columns of CheXpert's kind.

    Args:
        raw: the table as text or numbers.
        names: its label columns.
        path: its file.

    Returns:
        ``label/NAME`` float32: 1, 0, -1 uncertain, NaN blank.

    Raises:
        InputError: another value; it shows the first.
    """
    labels = {}
    for name in names:
        value = pd.to_numeric(raw[name], errors="coerce")
        is_bad = ~(value.isin([1, 0, -1]) | raw[name].isna())
        refuse_values(raw[name], is_bad, path, "1, 0, -1 (uncertain) or blank")
        labels[LABEL_PREFIX + name] = value.astype(np.float32)
    return pd.DataFrame(labels, index=raw.index)


def refuse_twice(ids: pd.Series, path: Path) -> None:
    """Refuse a table with two rows of one image.

    Raises:
        InputError: it names the first.
    """
    twice = ids.duplicated()
    if twice.any():
        row = int(twice.to_numpy().argmax())
        raise InputError(
            f"image {ids.iloc[row]!r} is in {path} more than once (row {row + 1}; "
            f"{int(twice.sum()):,} such rows); keep one row an image"
        )


def with_views(
    table: pd.DataFrame, views: Sequence[str] | None, known: Sequence[str], path: Path
) -> pd.DataFrame:
    """Keep rows of some views; None keeps all.

    Args:
        table: rows with ``view``.
        views: what is kept.
        known: what the dataset has.
        path: the table's file.

    Raises:
        InputError: a view that the dataset does not have, or no row is left.
    """
    if views is None:
        return table
    kept = table[table["view"].isin(list(views))]
    if kept.empty or not set(views) <= set(known):
        found = ", ".join(f"{name} {n:,}" for name, n in table["view"].value_counts().items())
        raise InputError(
            f"dataset.views is {list(views)}; choose among {', '.join(known)}, or null for all "
            f"({path} has {found})"
        )
    return kept


def describe_views(views: Sequence[str] | None) -> str:
    """Name the views that ``with_views`` keeps, for a funnel."""
    return "any" if views is None else " or ".join(views)


def choose_split(dataset: DatasetConfig, splits: Sequence[str]) -> str:
    """Return the named split, and refuse lists that it would not read.

    Raises:
        InputError: an unknown name, a list without ``id_lists``, or ``id_lists`` without a list.
    """
    split = dataset.split
    if split is None or split not in splits:
        raise InputError(f"dataset.split is {split!r}; choose one of {', '.join(splits)}")
    if split == "id_lists":
        if dataset.test_ids is None:
            raise InputError(
                "dataset.test_ids is missing; dataset.split=id_lists needs a file of test ids"
            )
        return split
    for key in ("test_ids", "valid_ids"):
        value = getattr(dataset, key)
        if value is not None:
            raise InputError(
                f"dataset.{key} is {value!r}, but dataset.split={split} does not read it; "
                "choose dataset.split=id_lists, or leave it out"
            )
    return split


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(repr(str(name)) for name in columns)
