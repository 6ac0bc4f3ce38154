"""SIIM-ACR Pneumothorax, stage 1: the table of run-length masks and a tree of DICOM files."""

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
from mflag.data.datasets.file_walk import walk_files
from mflag.data.datasets.label_tables import choose_split, existing_root, find_table
from mflag.data.datasets.listed_splits import list_hashes, split_by_user_lists
from mflag.data.datasets.recognise import refuse_wrong_folder
from mflag.data.datasets.siim_splits import IMAGES, SPLITS, balance_train, named_split
from mflag.data.datasets.siim_table import images_of, read_siim_masks
from mflag.data.datasets.source import Record, Source, refuse_unread_keys
from mflag.data.dicom import SUFFIXES, read_header, require_pydicom
from mflag.data.funnel import Funnel
from mflag.data.leaks import find_leaks
from mflag.data.lesions import mask_lesion
from mflag.data.rejected import Rejected
from mflag.data.run_lengths import NO_MASK, RunLengthError, unite_masks
from mflag.errors import InputError
from mflag.runtime.atomic_write import file_sha256

FINDING = "Pneumothorax"
_KEYS = {"root", "dataset.split", "dataset.test_ids", "dataset.valid_ids", "dataset.balance"}
_TABLES = ("train-rle.csv", "stage_1_train-rle.csv", "siim-pneumothorax-train-rle.csv")
_IMAGES = "dicom-images-train"
_TEST_IMAGES = "dicom-images-test"
_PUBLISHED_ROWS = 12_954

Item = tuple[str, str, list[str]]  # id, path, masks


def read(config: PrepareConfig) -> Source:
    """Read the table, find the images in one walk, read their patients, and split.

    Raises:
        InputError: a key, the table, an id list or the folder cannot be used.
    """
    refuse_unread_keys(config, _KEYS)
    scheme = choose_split(config.dataset, SPLITS)
    root = existing_root(config)
    path = find_table(root, *_TABLES, *(f"{name}.zip" for name in _TABLES))
    if path is None:
        refuse_wrong_folder(root, "siim", _TABLES[0])
    require_pydicom()
    masks = read_siim_masks(path)
    table = images_of(masks)
    paths = find_images(root, set(table["id"]))
    if not paths:
        refuse_wrong_folder(root, "siim", f"folder {_IMAGES}/<study>/<series>/<ImageId>.dcm")
    table["patient"] = [_patient(image, paths.get(image)) for image in table["id"]]
    table["split"], remarks = _split(masks, table, scheme, config.dataset)
    funnel = Funnel()
    funnel.add(f"rows of {path.name}", len(masks), _PUBLISHED_ROWS)
    funnel.add("one row an image", len(table), IMAGES)
    if config.dataset.balance:
        table = table[balance_train(table)]
        funnel.add("train balanced", len(table))
    is_there = table["id"].isin(paths)
    rejected = missing_images(table, is_there)
    kept = table[is_there]
    funnel.add("file present", len(kept))
    drawn = masks[masks["mask"] != NO_MASK].groupby("id")["mask"].agg(list)
    items: list[Item] = [(image, paths[image], drawn.get(image, [])) for image in kept["id"]]
    return Source(
        options={
            "root": config.root,
            "split": scheme,
            "balance": bool(config.dataset.balance),
            **list_hashes(config.dataset),
            f"{path.name}_sha256": file_sha256(path),
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
        shares_patients=scheme in ("ids", "ids_sorted", "mgca_rows"),  # published by image
        root=str(root),
        images=[path for _, path, _ in items],
    )


def load(item: Item) -> tuple[np.ndarray, Record]:
    """Decode one image, and bring the union of its masks to the prepared grid.

    Raises:
        Rejected: the image cannot be read, or a mask leaves it.
    """
    image, path, masks = item
    grey, header, (height, width) = read_challenge_image(path)
    lesions = []
    if masks:
        try:
            union = unite_masks(masks, height, width)
        except RunLengthError as error:
            raise Rejected(f"mask outside the image: {error}") from error
        lesions = [mask_lesion(image, FINDING, union)]
    return grey, {**header_record(header), "lesions": lesions}


def find_images(root: Path, wanted: set[str]) -> dict[str, str]:
    """Find images by their name without ending, in one walk below ``root``.

    Args:
        root: the folder; only its ``dicom-images-train`` is walked where that is there.
        wanted: ids.

    Returns:
        id to path. Where a copy stands beside the DICOM file, the DICOM file.

    Raises:
        InputError: two files of the same kind have one id.
    """
    found: dict[str, str] = {}
    top = root / _IMAGES if (root / _IMAGES).is_dir() else root
    for folder, name in walk_files(top, skipped={_TEST_IMAGES}):
        image, ending = os.path.splitext(name)
        if image not in wanted or ending.lower() not in IMAGE_SUFFIXES:
            continue
        path = os.path.join(folder, name)
        other = found.get(image)
        if other is None or (_is_dicom_name(path) and not _is_dicom_name(other)):
            found[image] = path
        elif _is_dicom_name(path) == _is_dicom_name(other):
            raise InputError(f"{image} is at {other} and at {path}; leave one of them")
    return found


def _is_dicom_name(path: str) -> bool:
    return path.lower().endswith(SUFFIXES)


def _patient(image: str, path: str | None) -> str:
    """PatientID of the header; the image's id where no header says it."""
    if path is None or not _is_dicom_name(path):
        return image
    return read_header(path).patient or image


def _split(
    masks: pd.DataFrame, table: pd.DataFrame, scheme: str, dataset: DatasetConfig
) -> tuple[pd.Series, list[str]]:
    if scheme == "id_lists":
        everything = pd.Series(True, table.index)
        return split_by_user_lists(table, everything, dataset, str)
    split, remark = named_split(masks, table, scheme)
    remarks = [remark] if remark else []
    if scheme != "patient" and len(table) != IMAGES:
        remarks.append(
            f"note: the table has {len(table):,} images, not {IMAGES:,}: split {scheme} follows "
            "the published rule, but gives other parts"
        )
    remarks += [
        f"warning: split {scheme}: {leak}" for leak in find_leaks(table.assign(split=split))
    ]
    return split, remarks
