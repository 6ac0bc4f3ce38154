"""Lesion masks as runs of pixels."""

import numpy as np


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
