"""Train, valid and test: never one patient in two of them."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from mflag.data.manifest import SPLITS
from mflag.errors import InputError

SEED = 0
HELD_OUT_FRACTION = 0.1  # of the patients, for valid and again for test
VALID_ROWS = 5000  # as the paper's CheXpert and NIH validation sets, whose ids are unpublished
_NAMES = {
    "train": "train", "training": "train",
    "valid": "valid", "val": "valid", "validate": "valid", "validation": "valid", "dev": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip


def split_by_patient(patients: Iterable[str]) -> list[str]:
    """Deal patients 80/10/10 with seed 0, whatever the order of the rows.

    Args:
        patients: the patient of each row.

    Returns:
        The split of each row. From 3 patients on, no split is empty.
    """
    patients = list(patients)
    unique = sorted(set(patients))
    order = np.random.default_rng(SEED).permutation(len(unique))
    held_out = max(round(len(unique) * HELD_OUT_FRACTION), 1 if len(unique) >= 3 else 0)
    of_rank = ["test"] * held_out + ["valid"] * held_out + ["train"] * len(unique)
    split = {unique[patient]: of_rank[rank] for rank, patient in enumerate(order)}
    return [split[patient] for patient in patients]


def canonical_splits(given: pd.Series, where: str) -> pd.Series:
    """Translate the names that people use (val, validate, ...) into train, valid and test.

    Raises:
        InputError: another name, or no name.
    """
    known = given.str.strip().str.lower().map(_NAMES)
    unknown = given[known.isna()]
    if len(unknown):
        raise InputError(
            f"split is {unknown.iloc[0]!r} in row {unknown.index[0] + 1} of {where}; "
            f"give one of {', '.join(SPLITS)}"
        )
    return known


def check_splits(
    patients: pd.Series, splits: pd.Series, where: str, *, may_share: bool = False
) -> None:
    """Refuse splits that share a patient, or leave nothing to train on.

    Args:
        patients: the patient of each row.
        splits: its split.
        where: what error messages call the source.
        may_share: a published split that leaks was asked for: patients are not looked at.

    Raises:
        InputError: it names the patient.
    """
    if not (splits == "train").any():
        counts = splits.value_counts().to_dict()
        raise InputError(f"{where} has no study in split 'train' (found: {counts}); mark some")
    if may_share:
        return
    count = splits.groupby(patients).nunique()
    leaking = count[count > 1].index.tolist()
    if leaking:
        found = " and ".join(sorted(splits[patients == leaking[0]].unique()))
        raise InputError(
            f"patient {leaking[0]!r} is in splits {found} of {where} "
            f"({len(leaking)} such patients); keep each patient in one split"
        )


def draw_valid(patients: pd.Series) -> np.ndarray:
    """Draw validation patients with seed 0, for sets whose publishers name none.

    Args:
        patients: the patient of each row that may be trained on.

    Returns:
        (n,) bool: all rows of the drawn patients, together 5,000 rows or a tenth of them,
        whichever is less, as nearly as whole patients allow. Not empty from 2 patients on.
    """
    sizes = patients.value_counts().sort_index()
    target = min(VALID_ROWS, round(len(patients) * HELD_OUT_FRACTION))
    order = np.random.default_rng(SEED).permutation(len(sizes))
    names, counts = sizes.index.to_numpy()[order], sizes.to_numpy()[order]
    drawn, left = [], target
    for name, count in zip(names, counts, strict=True):
        if count <= left:  # a patient of more images than are left is passed over
            drawn.append(name)
            left -= count
    if not drawn and len(sizes) >= 2:
        drawn = [names[0]]
    return patients.isin(drawn).to_numpy()
