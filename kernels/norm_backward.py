"""From ∂L/∂x = product + left_out·x to ∂L/∂z, in place of the product, times 4a/s.

c_i = δ(d_i − t) − λd_i; left_out_i = c_i + α in the dual, and α or δ(d_i − t) in the primal.
"""

from collections.abc import Callable

import torch
import triton
import triton.language as tl
from mflag.kernels.gram_weights import diagonal_weight, scale_of
from mflag.kernels.normalise import (
    BLOCK,
    Normalised,
    chunk_sums,
    radius,
    store_chunk_sums,
    tiling_of,
)
from mflag.kernels.orthogonality_formula import (
    CENTER,
    CODES,
    FEATURE,
    NONE,
    STANDARDIZE,
    VARIANCE_EPS,
    Parameters,
)
from torch import Tensor


@triton.jit
def _unprojected(
    product, x, d, place, column, N,
    LAMBDA: tl.constexpr, DELTA: tl.constexpr, IS_DUAL: tl.constexpr,
):  # fmt: skip
    """X and the product of one row of unit norm; the dual has (δ − λ) x∘d beside M·x."""
    value = tl.load(x + place, column < N, 0)
    h = tl.load(product + place, column < N, 0)
    if IS_DUAL and (LAMBDA != DELTA):
        factor = tl.load(d + column, column < N, 0) * (DELTA - LAMBDA)
        h += value * factor.to(tl.float32)
    return value, h


@triton.jit(do_not_specialize=["B"])
def row_backward_kernel(
    product, x, squared, diagonal, d, alpha, B, N,
    NORM: tl.constexpr, SCALE: tl.constexpr, TARGET: tl.constexpr, LAMBDA: tl.constexpr,
    FACTOR: tl.constexpr, EPS: tl.constexpr, DELTA: tl.constexpr,
    IS_DUAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row of ``sample``: its component along x goes, where the row is not shorter than eps."""
    row = tl.program_id(0)
    radial = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, N, BLOCK):
        column = start + tl.arange(0, BLOCK)
        place = row.to(tl.int64) * N + column
        value, h = _unprojected(product, x, d, place, column, N, LAMBDA, DELTA, IS_DUAL)
        radial += value.to(tl.float64) * h.to(tl.float64)
    row_squared = tl.load(squared + row)
    if IS_DUAL:
        own = diagonal_weight(tl.load(diagonal + row), B, SCALE, TARGET, LAMBDA, DELTA, IS_DUAL)
        left_out = own - TARGET * DELTA
    else:
        left_out = tl.load(alpha)
    multiple = tl.where(row_squared >= EPS * EPS, -tl.sum(radial, 0), left_out).to(tl.float32)
    scale = 4 * FACTOR / (scale_of(B, SCALE) * radius(row_squared, B, NORM, EPS))
    for start in range(0, N, BLOCK):
        column = start + tl.arange(0, BLOCK)
        place = row.to(tl.int64) * N + column
        value, h = _unprojected(product, x, d, place, column, N, LAMBDA, DELTA, IS_DUAL)
        tl.store(product + place, (h + multiple * value) * scale.to(tl.float32), column < N)


@triton.jit(do_not_specialize=["rows_in_all", "rows_each"])
def column_dots_kernel(
    product, x, partial, rows_in_all, N, rows_each, STEP: tl.constexpr, COLUMNS: tl.constexpr
):
    """Σ product and Σ x·product over a chunk of rows."""
    tile, chunk = tl.program_id(0), tl.program_id(1)
    columns = tile * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((STEP, COLUMNS), tl.float64)
    radial = tl.zeros((STEP, COLUMNS), tl.float64)
    begin = chunk * rows_each
    for start in range(begin, min(begin + rows_each, rows_in_all), STEP):
        rows = start + tl.arange(0, STEP)
        mask = (rows < rows_in_all)[:, None] & (columns < N)[None, :]
        place = rows[:, None].to(tl.int64) * N + columns[None, :]
        h = tl.load(product + place, mask, 0).to(tl.float64)
        total += h
        radial += tl.load(x + place, mask, 0).to(tl.float64) * h
    store_chunk_sums(partial, chunk, columns, N, tl.sum(total, 0), tl.sum(radial, 0))


@triton.jit(do_not_specialize=["rows_in_all", "B", "rows_each", "chunks"])
def column_backward_kernel(
    product, x, partial, squared, d, alpha, rows_in_all, B, N, rows_each, chunks,
    NORM: tl.constexpr, SCALE: tl.constexpr, TARGET: tl.constexpr, LAMBDA: tl.constexpr,
    FACTOR: tl.constexpr, EPS: tl.constexpr, DELTA: tl.constexpr,
    IS_DUAL: tl.constexpr, STEP: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """A tile of columns and a chunk of rows, of every norm but ``sample``."""
    tile, chunk = tl.program_id(0), tl.program_id(1)
    columns = tile * COLUMNS + tl.arange(0, COLUMNS)
    left_out = tl.zeros((COLUMNS,), tl.float64) + tl.load(alpha)
    if IS_DUAL and (LAMBDA == 1) and (DELTA == 1):
        left_out = left_out - TARGET
    elif IS_DUAL:
        own = tl.load(d + columns, columns < N, 0)
        left_out += (own - TARGET) * DELTA - own * LAMBDA
    elif (NORM == FEATURE) or (NORM == STANDARDIZE):
        left_out = (tl.load(d + columns, columns < N, 0) - TARGET) * DELTA
    divisor = tl.zeros((COLUMNS,), tl.float64) + scale_of(B, SCALE)
    if (NORM == FEATURE) or (NORM == STANDARDIZE):
        column_squared = tl.load(squared + columns, columns < N, 1)
        r = radius(column_squared, B, NORM, EPS)
        divisor = divisor * r
    scale = (4 * FACTOR / divisor).to(tl.float32)
    mean = tl.zeros((COLUMNS,), tl.float64)
    multiple = left_out
    if NORM != NONE:
        share = tl.full((), 1, tl.float64) / B
        mean, radial = chunk_sums(partial, columns, chunks, N)
        mean = mean * share
        if NORM == FEATURE:
            multiple = tl.where(column_squared >= EPS * EPS, -radial, left_out)
        elif NORM == STANDARDIZE:
            multiple = left_out * (VARIANCE_EPS / (r * r)) - radial * share
    mean32, multiple32 = mean.to(tl.float32), multiple.to(tl.float32)
    begin = chunk * rows_each
    for start in range(begin, min(begin + rows_each, rows_in_all), STEP):
        rows = start + tl.arange(0, STEP)
        mask = (rows < rows_in_all)[:, None] & (columns < N)[None, :]
        place = rows[:, None].to(tl.int64) * N + columns[None, :]
        h = tl.load(product + place, mask, 0)
        if (NORM == CENTER) or (NORM == STANDARDIZE):
            h -= mean32[None, :]
        h += tl.load(x + place, mask, 0) * multiple32[None, :]
        tl.store(product + place, h * scale[None, :], mask)


def through_rows(
    product: Tensor,
    x: Tensor,
    normalised: Normalised,
    alpha: Tensor,
    parameters: Parameters,
    first: int,
) -> None:
    """Turn the product (rows, N) into the gradient of these rows: ``sample``.

    Args:
        product: M·x or x·W of these rows.
        x: (rows, N) the rows, normalised.
        normalised: of the whole batch.
        alpha: (1,) α.
        parameters: the formula.
        first: where these rows lie in the batch.
    """
    B, N = normalised.x.shape
    row_backward_kernel[(x.shape[0],)](
        product, x, normalised.squared[first:], normalised.diagonal[first:], normalised.d, alpha,
        B, N,
        **parameters.constants("NORM", "SCALE", "TARGET", "LAMBDA", "FACTOR", "EPS", "DELTA"),
        IS_DUAL=B < N, BLOCK=BLOCK, num_warps=4,
    )  # fmt: skip


def through_columns(
    product: Tensor,
    x: Tensor,
    normalised: Normalised,
    alpha: Tensor,
    parameters: Parameters,
    total: Callable[[Tensor], Tensor] | None,
) -> None:
    """Turn the product (rows, N) into the gradient of these rows: every norm but ``sample``.

    Args:
        product: M·x or x·W of these rows.
        x: (rows, N) the rows, normalised.
        normalised: of the whole batch.
        alpha: (1,) α.
        parameters: the formula.
        total: adds a tensor up over all who have rows; None: these are all.
    """
    B, N = normalised.x.shape
    tiling = tiling_of(x.device, x.shape[0], N)
    partial, chunks = alpha, tiling.chunks
    if parameters.norm != CODES["none"]:
        partial = torch.empty(chunks, 2, N, device=x.device, dtype=torch.float64)
        column_dots_kernel[tiling.grid](
            product, x, partial, x.shape[0], N, tiling.rows_each, **tiling.constants
        )
        if total is not None:
            partial, chunks = total(partial.sum(0)), 1
    column_backward_kernel[tiling.grid](
        product, x, partial, normalised.squared, normalised.d, alpha,
        x.shape[0], B, N, tiling.rows_each, chunks,
        **parameters.constants("NORM", "SCALE", "TARGET", "LAMBDA", "FACTOR", "EPS", "DELTA"),
        IS_DUAL=B < N, **tiling.constants,
    )  # fmt: skip
