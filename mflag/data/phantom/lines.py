"""Thin curves: laid down as points on the grid, then blurred to their width."""

from collections.abc import Sequence

import numpy as np

from mflag.data.phantom.draws import Array
from mflag.data.phantom.frame import SIZE


def splat(columns: Array, rows: Array, weights: Array) -> Array:
    """Return a (256, 256) field with each point's weight shared by its four nearest pixels.

    Args:
        columns, rows: (M,) float64 pixel positions; points outside the image are left out.
        weights: (M,) float64.
    """
    keep = (columns >= 0) & (columns < SIZE - 1) & (rows >= 0) & (rows < SIZE - 1)
    columns, rows, weights = columns[keep], rows[keep], weights[keep]
    left, top = columns.astype(np.intp), rows.astype(np.intp)
    right_share, low_share = columns - left, rows - top
    at = top * SIZE + left
    upper, lower = weights * (1.0 - low_share), weights * low_share
    cells = np.concatenate((at, at + 1, at + SIZE, at + SIZE + 1))
    shares = np.concatenate(
        (upper * (1.0 - right_share), upper * right_share,
         lower * (1.0 - right_share), lower * right_share)
    )  # fmt: skip
    return np.bincount(cells, shares, SIZE * SIZE).astype(np.float64).reshape(SIZE, SIZE)


def smooth_path(nodes: Sequence[tuple[float, float]], points: int = 240) -> tuple[Array, Array]:
    """Return (points,) u and v of a smooth curve from first to last node, near the others."""
    corners = np.array(nodes, dtype=np.float64)
    at = np.linspace(0.0, len(nodes) - 1.0, points)
    half = points // (2 * len(nodes))
    coordinates = []
    for axis in (0, 1):
        line = np.interp(at, np.arange(len(nodes)), corners[:, axis])
        # ends continued by reflection, so that they stay where they are
        before = 2.0 * line[0] - line[half:0:-1]
        after = 2.0 * line[-1] - line[-2 : -half - 2 : -1]
        sums = np.cumsum(np.concatenate(((0.0,), before, line, after)))
        coordinates.append((sums[2 * half + 1 :] - sums[: -2 * half - 1]) / (2 * half + 1))
    return coordinates[0], coordinates[1]
