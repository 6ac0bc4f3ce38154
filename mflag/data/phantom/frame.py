"""The grid of a study: pixels to body coordinates and back, and tables along body axes.

Body coordinates: u runs from the patient's right (-) to left (+), 1 is the inner wall of the rib
cage; v runs down, 0 is the apex of the lung and 1 the dome of the diaphragm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mflag.data.phantom.draws import Array

SIZE = 256
STEPS = 1000  # table entries per unit: 0.1 to 0.13 pixels
V_FIRST, V_LAST = -2.0, 3.0
A_LAST = 3.0
V_AXIS = np.arange(int(V_FIRST * STEPS), int(V_LAST * STEPS)) / STEPS
A_AXIS = np.arange(int(A_LAST * STEPS)) / STEPS
_Y, _X = np.meshgrid(np.arange(SIZE) - 127.5, np.arange(SIZE) - 127.5, indexing="ij")

Window = tuple[slice, slice]

# Freeing one large block makes glibc keep freed memory for reuse. Else each 512 KiB field is given
# back and paged in anew: a third of the time of a study.
np.empty(3 << 20)


@dataclass(frozen=True)
class Position:
    """How the chest lies on the detector, pixels and degrees (positive: clockwise in the image)."""

    width: float
    height: float
    shift_x: float
    shift_y: float
    rotation_degrees: float


class Frame:
    """Coordinate fields of one study.

    Attributes:
        u, v: (256, 256) float64 body coordinates.
        a: (256, 256) float64, distance from the midline, |u|.
        left: (256, 256) bool, the patient's left half.
    """

    def __init__(self, position: Position) -> None:
        """Compute the fields."""
        angle = math.radians(position.rotation_degrees)
        self._cos, self._sin = math.cos(angle), math.sin(angle)
        self.position = position
        x, y = _X - position.shift_x, _Y - position.shift_y
        self.u = (x * self._cos + y * self._sin) / position.width
        self.v = (y * self._cos - x * self._sin) / position.height + 0.5
        self.a = np.abs(self.u)
        self.left = self.u >= 0
        self._row = row_of(self.v)
        self._row_of_side = self._row + self.left * len(V_AXIS)
        self._column = np.minimum(self.a * STEPS, len(A_AXIS) - 1).astype(np.intp)
        self._column_of_side = self._column + self.left * len(A_AXIS)

    def along_v(self, table: Array) -> Array:
        """Return a table over ``V_AXIS`` as a field."""
        return table.take(self._row)

    def along_v_by_side(self, right: Array, left: Array) -> Array:
        """Return two tables over ``V_AXIS``, one for each half, as a field."""
        return np.concatenate((right, left)).take(self._row_of_side)

    def along_a(self, table: Array) -> Array:
        """Return a table over ``A_AXIS`` as a field."""
        return table.take(self._column)

    def along_a_by_side(self, right: Array, left: Array) -> Array:
        """Return two tables over ``A_AXIS``, one for each half, as a field."""
        return np.concatenate((right, left)).take(self._column_of_side)

    def pixels(self, u: Array, v: Array) -> tuple[Array, Array]:
        """Return the columns and rows (float64) of points in body coordinates."""
        x, y = u * self.position.width, (v - 0.5) * self.position.height
        columns = x * self._cos - y * self._sin + self.position.shift_x + 127.5
        rows = x * self._sin + y * self._cos + self.position.shift_y + 127.5
        return columns, rows

    def window(self, u: tuple[float, float], v: tuple[float, float]) -> Window:
        """Return the part of the image, at least a pixel, that holds a box in body coordinates."""
        rows, columns = [], []
        for corner_u in u:
            for corner_v in v:
                x = corner_u * self.position.width
                y = (corner_v - 0.5) * self.position.height
                columns.append(x * self._cos - y * self._sin + self.position.shift_x + 127.5)
                rows.append(x * self._sin + y * self._cos + self.position.shift_y + 127.5)
        return _span(rows), _span(columns)


def row_of(v: Array) -> NDArray[np.intp]:
    """Return the entries of a table over ``V_AXIS``."""
    rows = v * STEPS
    rows -= V_FIRST * STEPS
    np.maximum(rows, 0.0, out=rows)
    np.minimum(rows, len(V_AXIS) - 1, out=rows)
    return rows.astype(np.intp)


def _span(values: list[float]) -> slice:
    first = min(SIZE - 1, max(0, math.floor(min(values)) - 1))
    return slice(first, max(first + 1, min(SIZE, math.ceil(max(values)) + 2)))


def profile(
    axis: Array, nodes: Sequence[tuple[float, float]], smooth: int = 40
) -> NDArray[np.float64]:
    """Return a table through (position, value) nodes, smoothed over ``smooth`` entries each way."""
    table = np.interp(axis, [node[0] for node in nodes], [node[1] for node in nodes])
    for _ in range(2 if smooth else 0):
        padded = np.concatenate((np.full(smooth + 1, table[0]), table, np.full(smooth, table[-1])))
        sums = np.cumsum(padded)
        table = (sums[2 * smooth + 1 :] - sums[: -2 * smooth - 1]) / (2 * smooth + 1)
    return table


def ramp(field: Array, width: float) -> Array:
    """Return a smooth step: 0 where the field is below 0, 1 where it is above ``width``."""
    # in place: a fresh array costs more than the arithmetic on it
    t = field * (1.0 / width)
    np.maximum(t, 0.0, out=t)
    np.minimum(t, 1.0, out=t)
    step = t * -2.0
    step += 3.0
    step *= t
    step *= t
    return step


def bump(squared: Array) -> Array:
    """Return a smooth hill over a squared distance: 1 at 0, 0 from 1 on."""
    rest = 1.0 - squared
    np.maximum(rest, 0.0, out=rest)
    rest *= rest
    return rest


def blur(field: Array, passes: int = 1) -> Array:
    """Return the field after passes of a 3 x 3 binomial filter, edges repeated."""
    for _ in range(passes):
        pairs = field[:-1] + field[1:]
        rows = np.empty_like(field)
        np.add(pairs[:-1], pairs[1:], out=rows[1:-1])
        rows[0], rows[-1] = pairs[0] + 2.0 * field[0], pairs[-1] + 2.0 * field[-1]
        pairs = rows[:, :-1] + rows[:, 1:]
        field = np.empty_like(rows)
        np.add(pairs[:, :-1], pairs[:, 1:], out=field[:, 1:-1])
        field[:, 0] = pairs[:, 0] + 2.0 * rows[:, 0]
        field[:, -1] = pairs[:, -1] + 2.0 * rows[:, -1]
        field *= 0.0625
    return field


def _enlargement(factor: int) -> Array:
    """Return the (256, 256 / factor) matrix of linear interpolation between cell centres."""
    cells = SIZE // factor
    at = np.clip((np.arange(SIZE) + 0.5) / factor - 0.5, 0, cells - 1)
    low = np.minimum(at.astype(np.intp), cells - 2)
    matrix = np.zeros((SIZE, cells))
    matrix[np.arange(SIZE), low] = 1.0 - (at - low)
    matrix[np.arange(SIZE), low + 1] = at - low
    return matrix


_ENLARGE = {factor: _enlargement(factor) for factor in (4, 8, 16, 32)}


def enlarge(coarse: Array, factor: int) -> Array:
    """Return a (256 / factor)-square field as (256, 256), by linear interpolation."""
    return _ENLARGE[factor] @ coarse @ _ENLARGE[factor].T


def shrink(field: Array, factor: int) -> Array:
    """Return box averages of a (256, 256) field."""
    cells = SIZE // factor
    return field.reshape(cells, factor, cells, factor).mean(axis=(1, 3))
