"""Lesions: rows of ``lesions.parquet``, and masks as runs of pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mflag.data.images import square_box, square_mask

# Boxes and runs lie on the prepared 256 x 256 image, source_* on the image as it was read.
PUBLISHED_COLUMNS = (
    "id", "finding", "laterality", "zone", "severity", "x", "y", "width", "height", "runs",
    "source_box", "source_runs", "source_height", "source_width",
)  # fmt: skip


def mask_to_runs(mask: np.ndarray) -> list[int]:
    """Encode a mask without loss.

    Args:
        mask: (H, W) bool.

    Returns:
        offset, length, offset, length, ... over the row-major flattened mask.
    """
    flat = np.concatenate(([False], mask.ravel(), [False]))
    edges = np.flatnonzero(flat[1:] != flat[:-1])  # starts and ends take turns
    edges[1::2] -= edges[::2]
    return edges.tolist()


def runs_to_mask(runs: list[int] | np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Decode what ``mask_to_runs`` made into a bool mask of ``shape``."""
    flat = np.zeros(shape[0] * shape[1], bool)
    for offset, length in np.asarray(runs).reshape(-1, 2):
        flat[offset : offset + length] = True
    return flat.reshape(shape)


def box_lesion(image: str, finding: str, box: Sequence[float], shape: tuple[int, int]) -> list[Any]:
    """A row of ``PUBLISHED_COLUMNS`` for a published box; it has no runs.

    Args:
        image: the id.
        finding: what the box marks.
        box: x, y, width, height on an image of ``shape``.
        shape: height, width.
    """
    return [image, finding, "", "", "", *square_box(box, *shape), [], list(box), None, *shape]


def mask_lesion(image: str, finding: str, mask: np.ndarray) -> list[Any]:
    """A row of ``PUBLISHED_COLUMNS`` for a published mask, with the box around it.

    Args:
        image: the id.
        finding: what the mask marks.
        mask: (H, W) bool, not empty, on the image as it was read.
    """
    height, width = mask.shape
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    box = [float(side) for side in (left, top, columns[-1] + 1 - left, rows[-1] + 1 - top)]
    runs, source_runs = mask_to_runs(square_mask(mask)), mask_to_runs(mask)
    place = square_box(box, height, width)
    return [image, finding, "", "", "", *place, runs, box, source_runs, height, width]


def lesion_table(rows: list[list[Any]]) -> pd.DataFrame:
    """The table of rows that ``box_lesion`` or ``mask_lesion`` made."""
    return pd.DataFrame(rows, columns=list(PUBLISHED_COLUMNS))
