"""What id lists leave open: validation patients drawn by us, and the rest for training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from mflag.config.prepare import DatasetConfig
from mflag.data.id_lists import read_id_list, split_by_lists
from mflag.data.splits import SEED, draw_valid
from mflag.runtime.atomic_write import file_sha256

_KEYS = {"test": "test_ids", "valid": "valid_ids"}


def split_by_user_lists(
    table: pd.DataFrame,
    is_kept: pd.Series,
    dataset: DatasetConfig,
    normalize: Callable[[str], str],
    hint: str = "",
) -> tuple[pd.Series, list[str]]:
    """Split by ``dataset.test_ids`` and ``dataset.valid_ids``.

    Args:
        table: ``id`` and ``patient`` of all images that a list may name.
        is_kept: (n,) bool, the images that will be used; valid is drawn among them.
        dataset: the two keys; without ``valid_ids`` valid is drawn by patient.
        normalize: from a line of a list to the spelling of ``id`` and ``patient``.
        hint: what the error about unknown ids adds.

    Returns:
        train, valid or test of each row, and lines for people.

    Raises:
        InputError: a list cannot be read, names unknown ids, or overlaps with the other.
    """
    paths = {name: getattr(dataset, key) for name, key in _KEYS.items()}
    lists = {
        name: read_id_list(path, f"dataset.{_KEYS[name]}")
        for name, path in paths.items()
        if path is not None
    }
    split = split_by_lists(lists, table["id"], table["patient"], normalize, hint)
    if "valid" in lists:
        return split.replace("", "train"), []
    return fill_split(split, table["patient"], is_kept)


def list_hashes(dataset: DatasetConfig) -> dict[str, Any]:
    """The options that stand for the user's lists: their names and contents."""
    given = {key: getattr(dataset, key) for key in _KEYS.values()}
    hashes = {
        f"{key}_sha256": file_sha256(Path(path)) for key, path in given.items() if path is not None
    }
    return {**given, **hashes}


def fill_split(
    split: pd.Series, patients: pd.Series, is_kept: pd.Series
) -> tuple[pd.Series, list[str]]:
    """Draw valid by patient among the rows without a split, and make the others train.

    Args:
        split: ``""`` where nothing is said yet.
        patients: the patient of each row.
        is_kept: (n,) bool, the rows that will be used and so are counted.

    Returns:
        The whole split, and a line for people.
    """
    is_open = split == ""
    pool = patients[is_open & is_kept]
    drawn = pool[draw_valid(pool)]
    split = split.mask(is_open & patients.isin(drawn), "valid").replace("", "train")
    note = (
        f"note: valid is drawn by patient with seed {SEED} ({len(drawn):,} images of "
        f"{drawn.nunique():,} patients); its publishers name none"
    )
    return split, [note]
