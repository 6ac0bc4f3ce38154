"""CheXpert's splits by name."""

import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mflag.config.prepare import DatasetConfig
from mflag.data.datasets.chexpert_table import LABELS, LATERAL
from mflag.data.datasets.listed_splits import split_by_user_lists
from mflag.data.leaks import find_leaks
from mflag.data.manifest import LABEL_PREFIX
from mflag.data.splits import SEED, split_by_patient
from mflag.errors import InputError

SPLITS = ("patient", "official", "id_lists", "mgca")
NEEDS_VALID_CSV = ("official", "mgca")
TRAIN_ROWS = 223_414
_COMPETITION = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")


@dataclass(frozen=True)
class Assigned:
    """Splits of a table's rows.

    Attributes:
        split: train, valid or test by row; ``""`` for rows that the scheme leaves out.
        remarks: lines for people.
        shares_patients: the scheme leaks by patient.
    """

    split: pd.Series
    remarks: list[str] = field(default_factory=list)
    shares_patients: bool = False


def assign_patient(table: pd.DataFrame) -> Assigned:
    """Deal the patients of train.csv 80/10/10; images of valid.csv are left out."""
    patients = table["patient"][~is_valid_csv(table)]
    split = pd.Series(split_by_patient(patients), patients.index, dtype=object)
    return Assigned(split.reindex(table.index, fill_value=""))


def assign_official(table: pd.DataFrame) -> Assigned:
    """train.csv is train, valid.csv is valid; there is no test."""
    split = is_valid_csv(table).map({True: "valid", False: "train"})
    note = "note: dataset.split=official has no test images; CheXpert's are not in its tables"
    return Assigned(split, [note])


def assign_id_lists(table: pd.DataFrame, is_kept: pd.Series, dataset: DatasetConfig) -> Assigned:
    """Test and valid by lists of patients or images; the rest is train.

    Args:
        table: rows of train.csv and, where it is there, valid.csv.
        is_kept: (n,) bool, rows of the views that are kept.
        dataset: ``test_ids`` and ``valid_ids``.

    Raises:
        InputError: a list cannot be used.
    """
    hint = "" if is_valid_csv(table).any() else "; valid.csv is not there, its patients neither"
    return Assigned(*split_by_user_lists(table, is_kept, dataset, spell_id, hint))


def assign_mgca(
    table: pd.DataFrame, valid_images: int = 5000, retrieval_images: int = 200
) -> Assigned:
    """The split published with MGCA and GLoRIA, which leaks, with seed 0 as MGCA has it.

    1,000 images are set aside for retrieval (200 of each of five findings), then 5,000 drawn for
    validation. They are picked by position among what is left, but struck from training by row
    number of the whole table, and the two differ: most validation images stay in training.

    A manifest has one row an image, so the 5,000 are valid here and leave train; their patients
    stay. Images set aside, and those struck from training without being validation, are left out
    as published. valid.csv is test, as published.

    Args:
        table: all rows of train.csv in their order, then those of valid.csv; numbered from 0.
        valid_images: how many are drawn.
        retrieval_images: how many are set aside for each finding.
    """
    is_official = is_valid_csv(table)
    train_csv = table[~is_official]
    left = train_csv.drop(index=_retrieval_rows(train_csv, retrieval_images))
    drawn = np.random.RandomState(SEED).choice(len(left), valid_images, replace=False)
    valid = left.iloc[drawn]
    train = left.drop(index=drawn.tolist(), errors="ignore")
    parts = {"train": train, "valid": valid, "test": table[is_official]}
    members = pd.concat(
        [part[["id", "patient"]].assign(split=name) for name, part in parts.items()]
    )
    split = pd.Series("", table.index, dtype=object)
    for name, part in parts.items():  # valid after train: an image of both is valid
        split[part.index] = name
    warnings = [f"warning: dataset.split=mgca leaks: {leak}" for leak in find_leaks(members)]
    kept = int((split == "train").sum())
    warnings.append(
        f"warning: an image has one split, so what is in both is valid only: train has {kept:,} "
        f"of the {len(train):,} images published, and patients stay in both; "
        "choose models by dataset.split=patient"
    )
    return Assigned(split, warnings, shares_patients=True)


def is_valid_csv(table: pd.DataFrame) -> pd.Series:
    """Tell which rows are of valid.csv, (n,) bool."""
    return table["id"].str.startswith("valid/")


def spell_id(line: str) -> str:
    """Spell a line of an id list as a manifest does.

    Args:
        line: a patient (``7``, ``patient00007``) or an image's path, with the release or without.

    Returns:
        ``patient00007`` or ``train/patient00007/study1/view1_frontal.jpg``; other lines unchanged.
    """
    patient = re.fullmatch(r"(?:patient)?0*(\d+)", line)
    if patient:
        return f"patient{int(patient[1]):05}"
    image = re.search(r"(?:^|/)((?:train|valid)/patient\d+/.+)$", line)
    return image[1] if image else line


def _retrieval_rows(train_csv: pd.DataFrame, count: int) -> list[int]:
    """Rows of the 5 x 200 retrieval set: frontal, one of five findings and no other one."""
    others = [name for name in LABELS if name != "No Finding"]  # which nobody looks at
    is_zero = {name: train_csv[LABEL_PREFIX + name].fillna(0) == 0 for name in others}
    is_frontal = train_csv["view"] != LATERAL
    rows: list[int] = []
    for finding in _COMPETITION:
        alone = is_frontal & (train_csv[LABEL_PREFIX + finding] == 1)
        for name in others:
            if name != finding:
                alone &= is_zero[name]
        if alone.sum() < count:
            raise InputError(
                f"train.csv has {int(alone.sum())} frontal images of {finding!r} alone, but "
                f"dataset.split=mgca sets {count} aside; it needs the published labels"
            )
        rows += train_csv[alone].sample(n=count, random_state=SEED).index.tolist()
    return rows
