"""The Gram matrix of the orthogonality loss, by torch's products, and the weights made of it.

K = xxᵀ (dual, B < N) or xᵀx (primal). In place of it come the weights that x is multiplied with:
(λ/s)·gram with the diagonal v_i − α, v = (λ/s)·diag(K) or δ(d − t), α = mean v; 0 where multiples
of x_b (``sample``, dual) or x_i (``feature``, ``standardize``, primal) vanish in the backward of
the norm (mflag/ops/orthogonality_reference.py).
"""

import torch
import triton
import triton.language as tl
from mflag.kernels.launch_table import GramTiles
from mflag.kernels.orthogonality_formula import FEATURE, NONE, SAMPLE, STANDARDIZE
from torch import Tensor


def lower_products(left: Tensor, out: Tensor, row: GramTiles) -> None:
    """Write left·leftᵀ: all of it, or the strips that hold its lower triangle when it is large."""
    side = out.shape[0]
    strip = row.strip if side >= row.strips_from else side
    for begin in range(0, side, strip):
        end = min(begin + strip, side)
        torch.mm(left[begin:end], left[:end].T, out=out[begin:end, :end])


@triton.jit
def scale_of(B, SCALE: tl.constexpr):
    """S in float64."""
    s = tl.full((), SCALE, tl.float64)
    if SCALE == 0:
        s = B.to(tl.float64)
    return s


@triton.jit
def diagonal_weight(
    value, B,
    SCALE: tl.constexpr, TARGET: tl.constexpr, LAMBDA: tl.constexpr, DELTA: tl.constexpr,
    IS_DUAL: tl.constexpr,
):  # fmt: skip
    """V of the diagonal of K (dual) or of the d_i (primal)."""
    if IS_DUAL:
        return value * (LAMBDA / scale_of(B, SCALE))
    else:
        return (value - TARGET) * DELTA


@triton.jit
def _mean_weight(
    diagonal, side, B,
    NORM: tl.constexpr, SCALE: tl.constexpr, TARGET: tl.constexpr, LAMBDA: tl.constexpr,
    DELTA: tl.constexpr, IS_DUAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """α: the mean of the v_i, or t where L = a ‖C − t‖² and nothing is normalised."""
    total = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, side, BLOCK):
        index = start + tl.arange(0, BLOCK)
        value = tl.load(diagonal + index, index < side, 0)
        value = diagonal_weight(value, B, SCALE, TARGET, LAMBDA, DELTA, IS_DUAL)
        total += tl.where(index < side, value, 0)
    mean = tl.sum(total, 0) / side
    if IS_DUAL and (NORM == NONE) and (LAMBDA == 1) and (DELTA == 1):
        mean = mean * 0 + TARGET
    return mean


@triton.jit(do_not_specialize=["height", "width", "first", "B"])
def weights_kernel(
    gram, diagonal, partial, alpha, height, width, first, B,
    NORM: tl.constexpr, SCALE: tl.constexpr, TARGET: tl.constexpr, LAMBDA: tl.constexpr,
    DELTA: tl.constexpr, IS_DUAL: tl.constexpr, IS_TRIANGLE: tl.constexpr,
    SIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One tile of (height, width), whose row 0 is row ``first`` of the whole Gram matrix.

    ``IS_TRIANGLE``: the matrix is square, only its lower triangle is read, and mirrored.
    """
    tile_row, tile_column = tl.program_id(0), tl.program_id(1)
    if (not IS_TRIANGLE) or (tile_column <= tile_row):
        side = tl.arange(0, SIDE)
        rows, columns = tile_row * SIDE + side, tile_column * SIDE + side
        mask = (rows < height)[:, None] & (columns < width)[None, :]
        place = gram + rows[:, None].to(tl.int64) * width + columns[None, :]
        value = tl.load(place, mask, 0)
        is_diagonal = (rows[:, None] + first) == columns[None, :]
        if IS_TRIANGLE and (tile_row == tile_column):
            # cuBLAS need not give the two halves of the square the same bits.
            lower = rows[:, None] > columns[None, :]
            value = tl.where(lower, value, 0)
            value += tl.trans(value)
        off_diagonal = tl.where(is_diagonal, 0, value).to(tl.float64)
        squares = tl.sum(tl.sum(off_diagonal * off_diagonal, 1), 0)
        weight = value * (LAMBDA / scale_of(B, SCALE)).to(tl.float32)

        has_diagonal = (tile_row * SIDE + first < tile_column * SIDE + SIDE) & (
            tile_column * SIDE < tile_row * SIDE + SIDE + first
        )
        if has_diagonal | ((tile_row == 0) & (tile_column == 0)):
            mean = _mean_weight(
                diagonal, width, B, NORM, SCALE, TARGET, LAMBDA, DELTA, IS_DUAL, BLOCK
            )
            if (tile_row == 0) & (tile_column == 0):
                tl.store(alpha, mean)
            kept = tl.load(diagonal + columns, columns < width, 0)
            kept = diagonal_weight(kept, B, SCALE, TARGET, LAMBDA, DELTA, IS_DUAL) - mean
            if IS_DUAL and (NORM == SAMPLE):
                kept = kept * 0
            if (not IS_DUAL) and ((NORM == FEATURE) or (NORM == STANDARDIZE)):
                kept = kept * 0
            weight = tl.where(is_diagonal, kept.to(tl.float32)[None, :], weight)
        tl.store(place, weight, mask)
        if IS_TRIANGLE:
            index = tile_row.to(tl.int64) * (tile_row + 1) // 2 + tile_column
            if tile_row != tile_column:
                squares = squares * 2
                place = gram + columns[:, None].to(tl.int64) * width + rows[None, :]
                mask = (columns < height)[:, None] & (rows < width)[None, :]
                tl.store(place, tl.trans(weight), mask)
        else:
            index = tile_row.to(tl.int64) * tl.num_programs(1) + tile_column
        tl.store(partial + index, squares)
