"""z normalised, for losses whose products are torch's: x, and the sums of squares of its rows and
columns.

A launch sums over chunks of rows (``sample``: over rows), a second adds the chunks in order,
writes x and sums its squares, a third adds these. Sums are float64, of fixed places in fixed order.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from mflag.kernels.launch_table import ColumnTiles, column_tiles
from mflag.kernels.orthogonality_formula import (
    CENTER,
    CODES,
    FEATURE,
    NONE,
    SAMPLE,
    STANDARDIZE,
    VARIANCE_EPS,
    Parameters,
)
from torch import Tensor

MAX_CHUNKS = 64
MIN_CHUNK_ROWS = 64
BLOCK = 1024
ADD_UP_BLOCK = 64
GROUP = tl.constexpr(16)


class Normalised(NamedTuple):
    """x (B, N) float32, and in float64 what the losses need beside it; empty where they do not.

    ``squared``: Σ z² of the rows (sample) or of the centred columns, before eps. ``diagonal``:
    (B,) Σ_i x_bi². ``d``: (N,) Σ_b x_bi²/s.
    """

    x: Tensor
    squared: Tensor
    diagonal: Tensor
    d: Tensor


class Tiling(NamedTuple):
    """Tiles of columns times chunks of rows."""

    row: ColumnTiles
    tiles: int
    chunks: int
    rows_each: int

    @property
    def grid(self) -> tuple[int, int]:
        """The programs of one launch."""
        return self.tiles, self.chunks

    @property
    def constants(self) -> dict[str, Any]:
        """What the kernels need of it when they are compiled."""
        return {"STEP": self.row.step, "COLUMNS": self.row.columns, "num_warps": self.row.warps}


def tiling_of(device: torch.device, rows: int, columns: int) -> Tiling:
    """Return the tiling of a (rows, columns) matrix; it depends on nothing else but the GPU."""
    row = column_tiles(capability_of(device))
    rows_each = max(MIN_CHUNK_ROWS, triton.cdiv(rows, MAX_CHUNKS))
    rows_each = triton.cdiv(rows_each, row.step) * row.step
    return Tiling(row, triton.cdiv(columns, row.columns), triton.cdiv(rows, rows_each), rows_each)


def capability_of(device: torch.device) -> int:
    """Return major · 10 + minor; the interpreter has none and runs the rows of 8.0."""
    if device.type != "cuda":
        return 80
    major, minor = torch.cuda.get_device_capability(device)
    return major * 10 + minor


@triton.jit
def radius(squared, B, NORM: tl.constexpr, EPS: tl.constexpr):
    """R in float64 of rows or columns with these sums of squares."""
    if NORM == STANDARDIZE:
        r = tl.sqrt(squared / B + VARIANCE_EPS)
    else:
        r = tl.where(squared < EPS * EPS, EPS, tl.sqrt(squared))
    return r


@triton.jit
def _add_up(partial, index, count, stride, length):
    """Σ of ``count`` partial sums at ``index``, ``stride`` apart: GROUP loads under way at once."""
    total = tl.zeros((GROUP, index.shape[0]), tl.float64)
    for start in range(0, count, GROUP):
        i = start + tl.arange(0, GROUP)
        place = partial + i[:, None].to(tl.int64) * stride + index[None, :]
        total += tl.load(place, (i < count)[:, None] & (index < length)[None, :], 0)
    return tl.sum(total, 0)


@triton.jit
def chunk_sums(partial, columns, chunks, N):
    """Both sums of these columns over the chunks, in fixed order."""
    stride = 2 * tl.cast(N, tl.int64)
    first = _add_up(partial, columns, chunks, stride, N)
    return first, _add_up(partial + N, columns, chunks, stride, N)


@triton.jit
def store_chunk_sums(partial, chunk, columns, N, first, second):
    """Write what ``chunk_sums`` adds up."""
    place = partial + 2 * chunk.to(tl.int64) * N + columns
    tl.store(place, first, columns < N)
    tl.store(place + N, second, columns < N)


# B, and counts that follow from it, are 1 in practice too, and triton would compile that anew.
@triton.jit(do_not_specialize=["B", "rows_each"])
def column_statistics_kernel(
    z, partial, B, N, rows_each,
    IS_SHIFTED: tl.constexpr, STEP: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Σ (z − z_0) and Σ (z − z_0)² of a chunk of rows, z_0 the first row (0 unless shifted).

    Then Σ(z − mean)² = Σ(z − z_0)² − (Σ(z − z_0))²/B loses at most a factor B of float64's digits.
    """
    tile, chunk = tl.program_id(0), tl.program_id(1)
    columns = tile * COLUMNS + tl.arange(0, COLUMNS)
    pivot = tl.zeros((COLUMNS,), tl.float64)
    if IS_SHIFTED:
        pivot = tl.load(z + columns, columns < N, 0).to(tl.float32).to(tl.float64)
    total = tl.zeros((STEP, COLUMNS), tl.float64)
    squares = tl.zeros((STEP, COLUMNS), tl.float64)
    begin = chunk * rows_each
    for start in range(begin, min(begin + rows_each, B), STEP):
        rows = start + tl.arange(0, STEP)
        mask = (rows < B)[:, None] & (columns < N)[None, :]
        place = z + rows[:, None].to(tl.int64) * N + columns[None, :]
        value = tl.load(place, mask, 0).to(tl.float32).to(tl.float64)
        value = tl.where(mask, value - pivot[None, :], 0)
        total += value
        squares += value * value
    store_chunk_sums(partial, chunk, columns, N, tl.sum(total, 0), tl.sum(squares, 0))


@triton.jit
def row_statistics_kernel(z, squared, N, BLOCK: tl.constexpr):
    """Σ_i z_bi² of one row."""
    row = tl.program_id(0)
    total = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, N, BLOCK):
        column = start + tl.arange(0, BLOCK)
        value = tl.load(z + row.to(tl.int64) * N + column, column < N, 0)
        value = value.to(tl.float32).to(tl.float64)
        total += value * value
    tl.store(squared + row, tl.sum(total, 0))


@triton.jit(do_not_specialize=["B", "rows_each", "chunks"])
def normalise_kernel(
    z, statistics, squared, x, row_partial, column_partial, B, N, rows_each, chunks,
    NORM: tl.constexpr, EPS: tl.constexpr,
    WRITES: tl.constexpr, NEEDS_ROWS: tl.constexpr, NEEDS_COLUMNS: tl.constexpr,
    STEP: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """X of a tile of columns and a chunk of rows, and its sums of squares by row and by column."""
    tile, chunk = tl.program_id(0), tl.program_id(1)
    columns = tile * COLUMNS + tl.arange(0, COLUMNS)
    if (NORM != NONE) and (NORM != SAMPLE):
        mean, column_squared = chunk_sums(statistics, columns, chunks, N)
        if NORM == FEATURE:
            mean = mean * 0
        else:
            column_squared -= mean * (mean / B)
            pivot = tl.load(z + columns, columns < N, 0).to(tl.float32).to(tl.float64)
            mean = pivot + mean / B
        if NORM != CENTER:
            inverse = 1 / radius(column_squared, B, NORM, EPS)
        if chunk == 0:
            tl.store(squared + columns, column_squared, columns < N)
    squares = tl.zeros((STEP, COLUMNS), tl.float64)
    begin = chunk * rows_each
    for start in range(begin, min(begin + rows_each, B), STEP):
        rows = start + tl.arange(0, STEP)
        mask = (rows < B)[:, None] & (columns < N)[None, :]
        place = rows[:, None].to(tl.int64) * N + columns[None, :]
        value = tl.load(z + place, mask, 0).to(tl.float32)
        if NORM == SAMPLE:
            row_inverse = 1 / radius(tl.load(squared + rows, rows < B, 1), B, NORM, EPS)
            value = (value.to(tl.float64) * row_inverse[:, None]).to(tl.float32)
        elif NORM == CENTER:
            value = (value.to(tl.float64) - mean[None, :]).to(tl.float32)
        elif NORM != NONE:
            value = ((value.to(tl.float64) - mean[None, :]) * inverse[None, :]).to(tl.float32)
        if WRITES:
            tl.store(x + place, value, mask)
        square = tl.where(mask, value, 0).to(tl.float64)
        square = square * square
        if NEEDS_ROWS:
            tl.store(row_partial + tile.to(tl.int64) * B + rows, tl.sum(square, 1), rows < B)
        squares += square
    if NEEDS_COLUMNS:
        place = column_partial + chunk.to(tl.int64) * N + columns
        tl.store(place, tl.sum(squares, 0), columns < N)


@triton.jit(do_not_specialize=["B", "tiles", "chunks", "row_blocks"])
def add_up_kernel(
    row_partial, column_partial, squared, diagonal, d, B, N, tiles, chunks, row_blocks,
    SCALE: tl.constexpr, EPS: tl.constexpr, IS_UNIT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The diagonal of K in the first ``row_blocks`` programs, the d_i in the others.

    ``IS_UNIT``: rows of unit norm, which rounding moves from 1.
    """
    block = tl.program_id(0)
    if block < row_blocks:
        rows = block * BLOCK + tl.arange(0, BLOCK)
        total = _add_up(row_partial, rows, tiles, B, B)
        if IS_UNIT:  # NaN stays, and infinity has become it
            is_unit = tl.load(squared + rows, rows < B, 0) >= EPS * EPS
            total = tl.where(is_unit & (total > 0), 1, total)
        tl.store(diagonal + rows, total, rows < B)
    else:
        columns = (block - row_blocks) * BLOCK + tl.arange(0, BLOCK)
        s = tl.full((), SCALE, tl.float64)
        if SCALE == 0:
            s = B.to(tl.float64)
        tl.store(d + columns, _add_up(column_partial, columns, chunks, N, N) / s, columns < N)


def normalise(
    z: Tensor, parameters: Parameters, *, needs_rows: bool, needs_columns: bool
) -> Normalised:
    """Return x and the sums that are asked for; x is z itself where that is x already.

    Args:
        z: (B, N) contiguous float16, bfloat16 or float32.
        parameters: norm, eps and scale are used.
        needs_rows: whether ``diagonal`` is wanted.
        needs_columns: whether ``d`` is wanted.
    """
    B, N = z.shape
    tiling = tiling_of(z.device, B, N)
    double: dict[str, Any] = {"device": z.device, "dtype": torch.float64}
    is_rowwise = parameters.norm == CODES["sample"]
    is_columnwise = not is_rowwise and parameters.norm != CODES["none"]
    is_x = parameters.norm == CODES["none"] and z.dtype == torch.float32
    x = z if is_x else torch.empty(B, N, device=z.device)
    statistics = torch.empty(tiling.chunks * 2 * N if is_columnwise else 0, **double)
    squared = torch.empty(B if is_rowwise else N if is_columnwise else 0, **double)
    row_partial = torch.empty(tiling.tiles * B if needs_rows else 0, **double)
    column_partial = torch.empty(tiling.chunks * N if needs_columns else 0, **double)
    diagonal, d = torch.empty(B if needs_rows else 0, **double), torch.empty(N, **double)
    if is_rowwise:
        row_statistics_kernel[(B,)](z, squared, N, BLOCK=BLOCK, num_warps=4)
    elif is_columnwise:
        is_shifted = parameters.norm != CODES["feature"]
        column_statistics_kernel[tiling.grid](
            z, statistics, B, N, tiling.rows_each, IS_SHIFTED=is_shifted, **tiling.constants
        )
    if not is_x or needs_rows or needs_columns:
        normalise_kernel[tiling.grid](
            z, statistics, squared, x, row_partial, column_partial,
            B, N, tiling.rows_each, tiling.chunks, **parameters.constants("NORM", "EPS"),
            WRITES=not is_x, NEEDS_ROWS=needs_rows, NEEDS_COLUMNS=needs_columns,
            **tiling.constants,
        )  # fmt: skip
    row_blocks = triton.cdiv(B, ADD_UP_BLOCK) if needs_rows else 0
    column_blocks = triton.cdiv(N, ADD_UP_BLOCK) if needs_columns else 0
    if row_blocks + column_blocks:
        add_up_kernel[(row_blocks + column_blocks,)](
            row_partial, column_partial, squared, diagonal, d,
            B, N, tiling.tiles, tiling.chunks, row_blocks,
            **parameters.constants("SCALE", "EPS"), BLOCK=ADD_UP_BLOCK,
            IS_UNIT=is_rowwise and parameters.is_whole,
        )  # fmt: skip
    return Normalised(x, squared, diagonal, d)
