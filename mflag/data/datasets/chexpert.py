"""CheXpert v1.0 and v1.0-small: train.csv, valid.csv and their JPEG files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mflag.config.prepare import PrepareConfig
from mflag.data.datasets import chexpert_splits
from mflag.data.datasets.chexpert_splits import NEEDS_VALID_CSV, SPLITS, TRAIN_ROWS, Assigned
from mflag.data.datasets.chexpert_table import VIEWS, find_folder, read_chexpert_table
from mflag.data.datasets.label_tables import (
    choose_split,
    describe_views,
    existing_root,
    find_table,
    refuse_twice,
    with_views,
)
from mflag.data.datasets.listed_splits import list_hashes
from mflag.data.datasets.recognise import refuse_wrong_folder
from mflag.data.datasets.source import Record, Source, refuse_unread_keys
from mflag.data.funnel import Funnel
from mflag.data.images import read_grey
from mflag.data.splits import check_splits
from mflag.errors import InputError
from mflag.runtime.atomic_write import file_sha256

_KEYS = {"root", "dataset.views", "dataset.split", "dataset.test_ids", "dataset.valid_ids"}
_PROBED = 1000
# Rows and frontal AP or PA rows, of train.csv alone and with valid.csv.
_PUBLISHED = {1: (TRAIN_ROWS, 191_010), 2: (TRAIN_ROWS + 234, 191_010 + 202)}


@dataclass(frozen=True)
class Studies:
    """What the tables say, before any image is looked at.

    Attributes:
        folder: where the images' paths start.
        table: manifest rows in the order of train.csv, then valid.csv.
        funnel: the filters so far.
        assigned: the splits, with remarks.
        files: the tables that were read.
    """

    folder: Path
    table: pd.DataFrame
    funnel: Funnel
    assigned: Assigned
    files: list[Path]


def read(config: PrepareConfig) -> Source:
    """Read the tables, choose views and splits, and look whether the images are there at all.

    Raises:
        InputError: a key, a table, an id list or the folder cannot be used.
    """
    studies = select(config)
    table, folder = studies.table, studies.folder
    _probe_images(table["id"], folder)
    dataset = config.dataset
    return Source(
        options={
            "root": config.root,
            "views": dataset.views,
            "split": dataset.split,
            **list_hashes(dataset),
            **{f"{path.name}_sha256": file_sha256(path) for path in studies.files},
        },
        items=[f"{folder}/{name}" for name in table["id"]],
        rows=range(len(table)),
        files=table["id"].tolist(),
        load=load,
        build_tables=lambda numbers, _: {"manifest.parquet": table.iloc[numbers]},
        where=str(studies.files[0]),
        funnel=studies.funnel,
        prefer="threads",  # Pillow works without the lock
        remarks=studies.assigned.remarks,
        shares_patients=studies.assigned.shares_patients,
        root=str(folder),
        images=[f"{folder}/{name}" for name in table["id"]],
    )


def load(path: str) -> tuple[np.ndarray, Record]:
    """Decode one image; all else is in the table."""
    return read_grey(path), {}


def select(config: PrepareConfig) -> Studies:
    """Read the tables and choose views and splits.

    Raises:
        InputError: a key, a table or an id list cannot be used.
    """
    refuse_unread_keys(config, _KEYS)
    scheme = choose_split(config.dataset, SPLITS)
    folder = find_folder(existing_root(config))
    files = _tables(folder, scheme)
    table = pd.concat([read_chexpert_table(path) for path in files], ignore_index=True)
    funnel = Funnel()
    all_rows, frontal = _PUBLISHED[len(files)]
    funnel.add(f"rows of {' and '.join(path.name for path in files)}", len(table), all_rows)
    refuse_twice(table["id"], files[-1])
    viewed = with_views(table, config.dataset.views, VIEWS, files[0])
    is_kept = pd.Series(table.index.isin(viewed.index), table.index)
    assigned = _assign(scheme, table, is_kept, config, files[0])
    is_used = assigned.split != ""
    if not is_used.all():
        funnel.add(f"in split {scheme}", int(is_used.sum()))
    table.insert(3, "split", assigned.split)
    table.insert(4, "text", "")
    table = table[is_used & is_kept].reset_index(drop=True)
    views = config.dataset.views
    is_usual = is_used.all() and set(views or ()) == {"PA", "AP"}
    funnel.add(f"view {describe_views(views)}", len(table), frontal if is_usual else None)
    check_splits(
        table["patient"], table["split"], str(files[0]), may_share=assigned.shares_patients
    )
    return Studies(folder, table, funnel, assigned, files)


def _tables(folder: Path, scheme: str) -> list[Path]:
    """train.csv, and valid.csv for the schemes that use its images."""
    train, valid = find_table(folder, "train.csv"), find_table(folder, "valid.csv")
    if train is None or (valid is None and scheme in NEEDS_VALID_CSV):
        refuse_wrong_folder(folder, "chexpert", "train.csv" if train is None else "valid.csv")
    return [train] if valid is None or scheme == "patient" else [train, valid]


def _assign(
    scheme: str, table: pd.DataFrame, is_kept: pd.Series, config: PrepareConfig, train_csv: Path
) -> Assigned:
    if scheme == "id_lists":
        return chexpert_splits.assign_id_lists(table, is_kept, config.dataset)
    if scheme == "mgca":
        count = int((~chexpert_splits.is_valid_csv(table)).sum())
        if count != TRAIN_ROWS:
            raise InputError(
                f"{train_csv} has {count:,} rows, but dataset.split=mgca is drawn by row number "
                f"from the published {TRAIN_ROWS:,}; use the whole table or another split"
            )
        return chexpert_splits.assign_mgca(table)
    if scheme == "official":
        return chexpert_splits.assign_official(table)
    return chexpert_splits.assign_patient(table)


def _probe_images(names: pd.Series, folder: Path) -> None:
    """Refuse a root without images.

    Each image has a folder almost of its own, so a walk would cost more than looking for every
    file; both take minutes on a network disk. Files that are missing are found when they are read.
    """
    step = max(len(names) // _PROBED, 1)
    if not any((folder / name).is_file() for name in names[::step]):
        raise InputError(
            f"none of {len(names[::step]):,} images looked for is in {str(folder)!r}, for one "
            f"{names.iloc[0]!r}; set root to the folder with train.csv and the folder train"
        )
