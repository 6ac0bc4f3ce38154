"""Images of the RSNA and SIIM challenges: DICOM as released, or PNG and JPEG copies."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mflag.data.datasets.source import Rejection
from mflag.data.dicom import SUFFIXES, DicomHeader, is_dicom, read_dicom
from mflag.data.images import read_grey
from mflag.data.lesions import lesion_table
from mflag.data.manifest import LABEL_PREFIX
from mflag.data.rejected import Rejected

RELEASED_SIZE = 1024  # pixels a side of every released image of both challenges
IMAGE_SUFFIXES = (*SUFFIXES, ".png", ".jpg", ".jpeg")


def read_challenge_image(path: str) -> tuple[np.ndarray, DicomHeader, tuple[int, int]]:
    """Decode an image and say on what grid its boxes and masks are drawn.

    Boxes and masks belong to the released pixels. A DICOM file is what was released. A copy in
    another format may be smaller, so it is taken for a resized one, and must be square.

    Returns:
        (H, W) uint8 or uint16, the header's facts (empty for copies), height and width of the grid.

    Raises:
        Rejected: it cannot be read, or is a copy that is not square.
    """
    try:
        is_released = is_dicom(Path(path))
    except OSError:
        is_released = False  # read_grey says what is wrong with it
    if is_released:
        grey, header = read_dicom(path)
        return grey, header, grey.shape[:2]
    grey = read_grey(path)
    if grey.shape[0] != grey.shape[1]:
        raise Rejected(
            f"{grey.shape[1]} x {grey.shape[0]} pixels: a copy that is not square; "
            f"boxes and masks belong to {RELEASED_SIZE} x {RELEASED_SIZE}"
        )
    return grey, DicomHeader(), (RELEASED_SIZE, RELEASED_SIZE)


def header_record(header: DicomHeader) -> dict[str, Any]:
    """The header's facts as JSON keeps them: no age is None."""
    age = None if math.isnan(header.age) else header.age
    return {"view": header.view, "sex": header.sex, "age": age}


def missing_images(table: pd.DataFrame, is_there: pd.Series) -> list[Rejection]:
    """Say of the rows whose file is not there that it is missing."""
    missing = table["id"][~is_there]
    return [
        Rejection(row, f"{image}.dcm", "missing file")
        for row, image in zip(missing.index.tolist(), missing, strict=True)
    ]


def challenge_tables(
    kept: pd.DataFrame, records: Sequence[dict[str, Any]], finding: str
) -> dict[str, pd.DataFrame]:
    """Make the tables of images that were read.

    Args:
        kept: ``id``, ``patient``, ``split``, ``target`` and, where it is known, ``class``.
        records: what ``header_record`` gave of each, and its ``lesions``.
        finding: the challenge's only label.

    Returns:
        ``manifest.parquet`` and ``lesions.parquet``.
    """
    facts = pd.DataFrame(list(records), columns=["view", "sex", "age"]).set_index(kept.index)
    manifest = kept[["id", "patient"]].assign(
        study=kept["id"], split=kept["split"], text="", view=facts["view"], sex=facts["sex"],
        age=facts["age"].astype(np.float64),
    )  # fmt: skip
    if "class" in kept:
        manifest["class"] = kept["class"]
    manifest[LABEL_PREFIX + finding] = kept["target"].astype(np.float32)
    lesions = lesion_table([lesion for record in records for lesion in record["lesions"]])
    return {"manifest.parquet": manifest.reset_index(drop=True), "lesions.parquet": lesions}
