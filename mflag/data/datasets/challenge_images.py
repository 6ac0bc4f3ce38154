"""Images of the RSNA and SIIM challenges: DICOM as released, or PNG and JPEG copies."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mflag.data.dicom import SUFFIXES, DicomHeader, is_dicom, read_dicom
from mflag.data.images import read_grey
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


def add_header_columns(manifest: pd.DataFrame, records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Append ``view``, ``sex`` and ``age`` of the records, in the manifest's order."""
    facts = pd.DataFrame(list(records), columns=["view", "sex", "age"])
    facts["age"] = facts["age"].astype(np.float64)
    return pd.concat([manifest.reset_index(drop=True), facts], axis=1)
