"""RSNA Pneumonia Detection Challenge, stage 2: the table of boxes and a folder of DICOM files."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.datasets.challenge_images import (
    IMAGE_SUFFIXES,
    challenge_tables,
    header_record,
    missing_images,
    read_challenge_image,
)
from mflag.data.datasets.challenge_splits import paper_held_out, shuffled_split
from mflag.data.datasets.label_tables import choose_split, existing_root, find_table
from mflag.data.datasets.listed_splits import list_hashes, split_by_user_lists
from mflag.data.datasets.recognise import refuse_wrong_folder
from mflag.data.datasets.rsna_tables import SIDES, add_classes, images_of, read_rsna_boxes
from mflag.data.datasets.source import Record, Rejection, Source, refuse_unread_keys
from mflag.data.dicom import require_pydicom
from mflag.data.funnel import Funnel
from mflag.data.lesions import box_lesion
from mflag.data.rejected import Rejected
from mflag.data.splits import split_by_patient
from mflag.errors import InputError
from mflag.runtime.atomic_write import file_sha256

SPLITS = ("mgca", "gloria", "patient", "id_lists")
FINDING = "Pneumonia"
_KEYS = {"root", "dataset.split", "dataset.test_ids", "dataset.valid_ids"}
_BOXES = "stage_2_train_labels.csv"
_CLASSES = "stage_2_detailed_class_info.csv"
_IMAGES = "stage_2_train_images"
_PUBLISHED = {"rows": 30_227, "images": 26_684}

Item = tuple[str, str, list[list[float]]]  # id, path, boxes


def read(config: PrepareConfig) -> Source:
    """Read the tables, split, and find the images.

    Raises:
        InputError: a key, a table, an id list or the folder cannot be used.
    """
    refuse_unread_keys(config, _KEYS)
    scheme = choose_split(config.dataset, SPLITS)
    root = existing_root(config)
    path = find_table(root, _BOXES, f"{_BOXES}.zip", f"kaggle_{_BOXES}.zip")
    if path is None:
        refuse_wrong_folder(root, "rsna", _BOXES)
    if not (root / _IMAGES).is_dir():
        refuse_wrong_folder(root, "rsna", f"folder {_IMAGES}")
    require_pydicom()
    boxes = read_rsna_boxes(path)
    table = images_of(boxes)
    class_file = find_table(root, _CLASSES, f"{_CLASSES}.zip")
    if class_file is not None:
        table = add_classes(table, class_file)
    table, remarks = _with_split(table, scheme, config.dataset)
    funnel = Funnel()
    funnel.add(f"rows of {path.name}", len(boxes), _PUBLISHED["rows"])
    funnel.add("one row an image", len(table), _PUBLISHED["images"])
    kept, items, rejected = _find_images(table, boxes, root / _IMAGES)
    funnel.add("file present", len(kept), _PUBLISHED["images"])
    files = [path, *([] if class_file is None else [class_file])]
    return Source(
        options={
            "root": config.root,
            "split": scheme,
            **list_hashes(config.dataset),
            **{f"{file.name}_sha256": file_sha256(file) for file in files},
        },
        items=items,
        rows=kept.index.tolist(),
        files=[os.path.basename(path) for _, path, _ in items],
        load=load,
        build_tables=lambda numbers, records: challenge_tables(
            kept.iloc[numbers], records, FINDING
        ),
        where=str(path),
        funnel=funnel,
        prefer="processes",  # parsing a header holds the interpreter's lock
        rejected=rejected,
        remarks=remarks,
        root=str(root),
        images=[path for _, path, _ in items],
    )


def load(item: Item) -> tuple[np.ndarray, Record]:
    """Decode one image, and bring its boxes to the prepared grid.

    Raises:
        Rejected: the image cannot be read, or a box leaves it.
    """
    image, path, boxes = item
    grey, header, (height, width) = read_challenge_image(path)
    for x, y, box_width, box_height in boxes:
        if x + box_width > width or y + box_height > height:
            raise Rejected(
                f"box x={x:g} y={y:g} width={box_width:g} height={box_height:g} leaves the "
                f"{width} x {height} image"
            )
    lesions = [box_lesion(image, FINDING, box, (height, width)) for box in boxes]
    return grey, {**header_record(header), "lesions": lesions}


def named_split(images: pd.Series, scheme: str) -> np.ndarray:
    """Split images as published code does, whatever the order of the rows.

    Args:
        images: the ids, each once; an image is a patient here.
        scheme: ``mgca`` (16,010 / 5,337 / 5,337, also the paper's), ``gloria``
            (18,678 / 4,003 / 4,003; MGCA's for classification) or ``patient``.

    Returns:
        (n,) of train, valid, test.
    """
    if scheme == "patient":
        return np.array(split_by_patient(images), object)
    held_out = {"mgca": paper_held_out(len(images), 0.2), "gloria": 0.3}[scheme]
    ordered = sorted(images)  # the published code groups by id, which sorts
    of_image = dict(zip(ordered, shuffled_split(len(images), held_out, "images"), strict=True))
    return np.array([of_image[image] for image in images], object)


def _with_split(
    table: pd.DataFrame, scheme: str, dataset: DatasetConfig
) -> tuple[pd.DataFrame, list[str]]:
    if scheme == "id_lists":
        everything = pd.Series(True, table.index)
        split, remarks = split_by_user_lists(table, everything, dataset, str)
        return table.assign(split=split), remarks
    remarks = []
    if scheme in ("mgca", "gloria") and len(table) != _PUBLISHED["images"]:
        remarks.append(
            f"note: the table has {len(table):,} images, not {_PUBLISHED['images']:,}: "
            f"split {scheme} follows the published rule, but gives other parts"
        )
    return table.assign(split=named_split(table["id"], scheme)), remarks


def _find_images(
    table: pd.DataFrame, boxes: pd.DataFrame, folder: Path
) -> tuple[pd.DataFrame, list[Item], list[Rejection]]:
    """The rows whose file is there, what ``load`` takes, and what is missing."""
    names = set(os.listdir(folder))  # one listing instead of 26,684 questions
    found = {
        image: next((image + end for end in IMAGE_SUFFIXES if image + end in names), None)
        for image in table["id"]
    }
    is_there = table["id"].map(found).notna()
    if not is_there.any():
        raise InputError(
            f"none of the {len(table):,} images is in {folder}, for one "
            f"{table['id'].iloc[0]}.dcm; unpack {_IMAGES}.zip there"
        )
    marked = boxes[boxes["Target"] == 1]
    of_image = {
        image: rows[list(SIDES)].to_numpy(float).tolist() for image, rows in marked.groupby("id")
    }
    kept = table[is_there]
    items = [
        (image, str(folder / str(found[image])), of_image.get(image, [])) for image in kept["id"]
    ]
    return kept, items, missing_images(table, is_there)
