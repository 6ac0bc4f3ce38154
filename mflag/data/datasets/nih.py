"""NIH ChestX-ray14: the label table, its boxes and official lists, PNG files anywhere below."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.datasets.file_walk import walk_files
from mflag.data.datasets.label_tables import (
    choose_split,
    describe_views,
    existing_root,
    find_table,
    with_views,
)
from mflag.data.datasets.listed_splits import fill_split, list_hashes, split_by_user_lists
from mflag.data.datasets.nih_boxes import read_nih_boxes
from mflag.data.datasets.nih_table import PUBLISHED_ROWS, VIEWS, read_nih_table
from mflag.data.datasets.recognise import refuse_wrong_folder
from mflag.data.datasets.source import Record, Rejection, Source, refuse_unread_keys
from mflag.data.funnel import Funnel
from mflag.data.id_lists import read_id_list, split_by_lists
from mflag.data.images import read_grey
from mflag.data.splits import check_splits, split_by_patient
from mflag.errors import InputError
from mflag.runtime.atomic_write import file_sha256

SPLITS = ("official", "patient", "id_lists")
_KEYS = {"root", "dataset.views", "dataset.split", "dataset.test_ids", "dataset.valid_ids"}
_TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
_OFFICIAL = {"train": "train_val_list.txt", "test": "test_list.txt"}
_BOXES = "BBox_List_2017.csv"


@dataclass(frozen=True)
class Studies:
    """What the tables say, before any image is looked at.

    Attributes:
        root: the folder.
        table: manifest rows in the order of the label table.
        boxes: rows of ``lesions.parquet``; None without the file.
        funnel: the filters so far.
        remarks: lines for people.
        files: the tables and lists that were read; the label table first.
    """

    root: Path
    table: pd.DataFrame
    boxes: pd.DataFrame | None
    funnel: Funnel
    remarks: list[str]
    files: list[Path]


def read(config: PrepareConfig) -> Source:
    """Read the tables, choose views and splits, and find the images in one walk.

    Raises:
        InputError: a key, a table, an id list or the folder cannot be used.
    """
    studies = select(config)
    boxes = studies.boxes
    kept, paths, rejected = _find_images(studies)
    dataset = config.dataset

    def build_tables(numbers: list[int], _: list[Record]) -> dict[str, pd.DataFrame]:
        tables = {"manifest.parquet": kept.iloc[numbers]}
        if boxes is not None:
            is_there = boxes["id"].isin(tables["manifest.parquet"]["id"])
            tables["lesions.parquet"] = boxes[is_there]
        return tables

    return Source(
        options={
            "root": config.root,
            "views": dataset.views,
            "split": dataset.split,
            **list_hashes(dataset),
            **{f"{path.name}_sha256": file_sha256(path) for path in studies.files},
        },
        items=paths,
        rows=kept.index.tolist(),
        files=kept["id"].tolist(),
        load=load,
        build_tables=build_tables,
        where=str(studies.files[0]),
        funnel=studies.funnel,
        prefer="threads",  # Pillow works without the lock
        rejected=rejected,
        remarks=studies.remarks,
        root=str(studies.root),
        images=paths,
    )


def load(path: str) -> tuple[np.ndarray, Record]:
    """Decode one image; some are RGBA with equal colours, whose luminance is channel 0."""
    return read_grey(path), {}


def select(config: PrepareConfig) -> Studies:
    """Read the tables and choose views and splits.

    Raises:
        InputError: a key, a table or an id list cannot be used.
    """
    refuse_unread_keys(config, _KEYS)
    scheme = choose_split(config.dataset, SPLITS)
    root = existing_root(config)
    path = find_table(root, *_TABLES)
    if path is None:
        refuse_wrong_folder(root, "nih", _TABLES[0])
    table = read_nih_table(path)
    funnel = Funnel()
    funnel.add(f"rows of {path.name}", len(table), published=PUBLISHED_ROWS)
    box_file = find_table(root, _BOXES)
    boxes = None if box_file is None else read_nih_boxes(box_file, table["id"])
    viewed = with_views(table, config.dataset.views, VIEWS, path)
    is_kept = pd.Series(table.index.isin(viewed.index), table.index)
    split, remarks, lists = _assign(scheme, table, is_kept, config.dataset, root)
    if boxes is None:
        remarks = [*remarks, f"note: {_BOXES} is not in root: no lesions.parquet is written"]
    is_used = split != ""
    if not is_used.all():
        funnel.add(f"in split {scheme}", int(is_used.sum()))
    table.insert(3, "split", split)
    table.insert(4, "text", "")
    table = table[is_used & is_kept].reset_index(drop=True)
    funnel.add(f"view {describe_views(config.dataset.views)}", len(table))
    check_splits(table["patient"], table["split"], str(path))
    files = [path, *lists, *([] if box_file is None else [box_file])]
    return Studies(root, table, boxes, funnel, remarks, files)


def spell_id(line: str) -> str:
    """Spell a line of an id list as a manifest does: patient ``00000013`` is ``13``."""
    return str(int(line)) if re.fullmatch(r"\d+", line, re.ASCII) else line


def _assign(
    scheme: str, table: pd.DataFrame, is_kept: pd.Series, dataset: DatasetConfig, root: Path
) -> tuple[pd.Series, list[str], list[Path]]:
    """The split of each row, lines for people, and the official lists that were read."""
    if scheme == "id_lists":
        return *split_by_user_lists(table, is_kept, dataset, spell_id), []
    if scheme == "patient":
        return pd.Series(split_by_patient(table["patient"]), table.index, dtype=object), [], []
    for name in _OFFICIAL.values():
        if not (root / name).is_file():
            refuse_wrong_folder(root, "nih", f"{name} (of dataset.split=official)")
    lists = {name: read_id_list(root / file, file) for name, file in _OFFICIAL.items()}
    listed = split_by_lists(lists, table["id"], table["patient"])
    check_splits(table["patient"], listed.where(listed != ""), "the official lists")
    is_left_out = listed == ""
    open_rows = listed.replace("train", "").mask(is_left_out, "left out")
    split, remarks = fill_split(open_rows, table["patient"], is_kept)
    return split.replace("left out", ""), remarks, [x.path for x in lists.values()]


def _find_images(studies: Studies) -> tuple[pd.DataFrame, list[str], list[Rejection]]:
    """The rows whose file is there, their paths, and what is missing."""
    table, root = studies.table, studies.root
    paths = _walk(root, set(table["id"]))
    is_there = table["id"].isin(paths)
    if not is_there.any():
        raise InputError(
            f"none of the {len(table):,} images is below root {str(root)!r}, for one "
            f"{table['id'].iloc[0]!r}; unpack the images there, in any folder"
        )
    studies.funnel.add("file present", int(is_there.sum()))
    missing = table["id"][~is_there]
    pairs = zip(missing.index.tolist(), missing, strict=True)
    rejected = [Rejection(row, name, "missing file") for row, name in pairs]
    kept = table[is_there]
    return kept, [paths[name] for name in kept["id"]], rejected


def _walk(root: Path, wanted: set[str]) -> dict[str, str]:
    """Find files by name: a dozen folders to list instead of 112,120 files to ask for.

    Raises:
        InputError: a name is in two folders.
    """
    found: dict[str, str] = {}
    for folder, name in walk_files(root):
        if name not in wanted:
            continue
        path = os.path.join(folder, name)
        if name in found:
            raise InputError(
                f"{name} is at {found[name]} and at {path}; leave one copy of the images below root"
            )
        found[name] = path
    return found
