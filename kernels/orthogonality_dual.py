"""Orthogonality loss for B <= 256 and B < N: two launches, loss and gradient.

    K = xxᵀ,  d_i = Σ_b x_bi²/s,  L = a [ δ Σ_i (d_i − t)² + λ (‖K‖²/s² − Σ_i d_i²) ]
    ∂L/∂x = (4a/s) [ λ K x/s + x·diag(c) ],  c_i = δ (d_i − t) − λ d_i

The first launch works out K: blocks of its lower triangle times slots of columns, the partial
products in fixed places; the last program of a block to finish adds them in order. The second
launch holds all rows of a tile of columns: K·x, the backward of the norm, and the column sums,
which its last program adds in order. Multiples of x that vanish in the backward of the norm are
left out (mflag/ops/orthogonality_reference.py).

``sample`` takes three: the first brings every row to a largest element in [1, 2) by a power of two,
as K of huge rows would overflow. With λ ≠ δ it takes a fourth, between K and the gradient:
⟨x_b, ∂L/∂x_b⟩ then holds Σ_i x_bi² d_i, a sum over all columns of d_i, and these are sums over all
rows of unit length. The launch of K does not know the lengths yet, a tile of the gradient not the
other columns.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from mflag.kernels.counters import counters_for
from mflag.kernels.launch_table import orthogonality_dual_row
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

MAX_SLOTS = 32


@triton.jit
def _column_statistics(z, row_stride, rows, columns, B, N, NORM: tl.constexpr, EPS: tl.constexpr):
    """Mean, its rounding, 1/r in float64, and r² of these columns, from all their rows."""
    mask = (rows < B)[:, None] & (columns < N)[None, :]
    value = tl.load(z + rows[:, None] * row_stride + columns[None, :], mask, 0).to(tl.float32)
    mean = tl.sum(value, 0) / B
    if NORM == FEATURE:
        mean = mean * 0
    centred = tl.where(mask, value - mean[None, :], 0)
    rest = tl.sum(centred, 0) / B
    if NORM == FEATURE:
        rest = rest * 0
    centred = tl.where(mask, centred - rest[None, :], 0).to(tl.float64)
    squared = tl.sum(centred * centred, 0)
    if NORM == STANDARDIZE:
        inverse = 1 / tl.sqrt(squared / B + VARIANCE_EPS)
    elif NORM == FEATURE:
        inverse = 1 / tl.where(squared < EPS * EPS, EPS, tl.sqrt(squared))
    else:
        inverse = squared * 0 + 1
    return mean, rest, inverse, squared


@triton.jit
def _normalised_columns(z, row_stride, rows, columns, B, N, mean, rest, inverse):
    mask = (rows < B)[:, None] & (columns < N)[None, :]
    value = tl.load(z + rows[:, None] * row_stride + columns[None, :], mask, 0).to(tl.float32)
    centred = (value - mean[None, :]) - rest[None, :]
    return tl.where(mask, (centred.to(tl.float64) * inverse[None, :]).to(tl.float32), 0)


@triton.jit
def _raw(z, row_stride, rows, columns, B, N):
    mask = (rows < B)[:, None] & (columns < N)[None, :]
    return tl.load(z + rows[:, None] * row_stride + columns[None, :], mask, 0).to(tl.float32)


@triton.jit
def row_scale_kernel(z, row_scale, row_stride, N, WIDTH: tl.constexpr):
    """2^−e for a largest |z_bi| in [2^e, 2^(e+1)); 1 for a row with NaN or infinity."""
    row = tl.program_id(0)
    largest = tl.zeros((WIDTH,), tl.int32)
    for start in range(0, N, WIDTH):
        column = start + tl.arange(0, WIDTH)
        value = tl.load(z + row * row_stride + column, column < N, 0).to(tl.float32)
        largest = tl.maximum(largest, tl.abs(value).to(tl.int32, bitcast=True))
    exponent = tl.max(largest, 0) >> 23  # of float32; as integers, NaN is the largest
    inverse = tl.maximum(254 - exponent, 1)
    inverse = tl.where(exponent == 255, 127, inverse)
    tl.store(row_scale + row, (inverse << 23).to(tl.float32, bitcast=True))


# B is 1 in practice too, and triton would make a Python integer of it.
@triton.jit(do_not_specialize=["B"])
def gram_kernel(
    z, row_scale, partial, partial_diagonal, K, diagonal, counters,
    row_stride, B, N, span, slots, pairs,
    NORM: tl.constexpr, EPS: tl.constexpr,
    ROWS: tl.constexpr, SIDE: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """One block of K's lower triangle over one slot of columns; the last slot adds them up."""
    pair, slot = tl.program_id(0), tl.program_id(1)
    block_row, block_column = 0, pair
    while block_column > block_row:
        block_row += 1
        block_column -= block_row
    side = tl.arange(0, SIDE)
    rows, columns = block_row * SIDE + side, block_column * SIDE + side
    sum_block = tl.zeros((SIDE, SIDE), tl.float32)
    sum_diagonal = tl.zeros((SIDE,), tl.float64)
    if NORM == SAMPLE:
        row_factor = tl.load(row_scale + rows, rows < B, 1)
        column_factor = tl.load(row_scale + columns, columns < B, 1)
    for start in range(slot * span, min(slot * span + span, N), DEPTH):
        inner = start + tl.arange(0, DEPTH)
        if (NORM != NONE) and (NORM != SAMPLE):
            mean, rest, inverse, _ = _column_statistics(
                z, row_stride, tl.arange(0, ROWS), inner, B, N, NORM, EPS
            )
            a = _normalised_columns(z, row_stride, rows, inner, B, N, mean, rest, inverse)
            b = _normalised_columns(z, row_stride, columns, inner, B, N, mean, rest, inverse)
        else:
            a = _raw(z, row_stride, rows, inner, B, N)
            b = _raw(z, row_stride, columns, inner, B, N)
        if NORM == SAMPLE:
            a *= row_factor[:, None]
            b *= column_factor[:, None]
        sum_block = tl.dot(a, tl.trans(b), sum_block, input_precision="ieee")
        sum_diagonal += tl.sum(a.to(tl.float64) * a.to(tl.float64), 1)

    block = side[:, None] * SIDE + side[None, :]
    tl.store(partial + (slot * pairs + pair) * SIDE * SIDE + block, sum_block)
    if block_row == block_column:
        tl.store(partial_diagonal + slot * B + rows, sum_diagonal, rows < B)
    tl.debug_barrier()
    ticket = tl.atomic_add(counters + pair, 1, sem="acq_rel", scope="gpu")
    if ticket == slots - 1:
        total = tl.zeros((SIDE, SIDE), tl.float32)
        total_diagonal = tl.zeros((SIDE,), tl.float64)
        for i in range(slots):
            place = partial + (i * pairs + pair) * SIDE * SIDE + block
            total += tl.load(place, cache_modifier=".cg")
            if block_row == block_column:
                own = tl.load(partial_diagonal + i * B + rows, rows < B, 0, cache_modifier=".cg")
                total_diagonal += own
        mask = (rows < B)[:, None] & (columns < B)[None, :]
        tl.store(K + rows[:, None] * B + columns[None, :], total, mask)
        mirror = mask & (block_row != block_column)
        tl.store(K + columns[None, :] * B + rows[:, None], total, mirror)
        if block_row == block_column:
            tl.store(diagonal + rows, total_diagonal, rows < B)
        tl.store(counters + pair, 0)


@triton.jit
def _row_inverse(diagonal, row_scale, rows, B, EPS: tl.constexpr):
    """1/r and ‖z_b‖² of rows, both of the scaled row, ε², and the scale; rows from B on have 1."""
    scale = tl.load(row_scale + rows, rows < B, 1).to(tl.float64)
    squared = tl.load(diagonal + rows, rows < B, 1)
    short = EPS * scale
    inverse = 1 / tl.where(squared < short * short, short, tl.sqrt(squared))
    return inverse, squared, short * short, scale


@triton.jit
def _unit_rows(z, row_stride, rows, columns, B, N, scale, inverse):
    """X of ``sample``: the power of two first, then 1/r of the scaled row."""
    value = _raw(z, row_stride, rows, columns, B, N)
    return value * scale.to(tl.float32)[:, None] * inverse.to(tl.float32)[:, None]


@triton.jit
def _add_slots(partial, rows, slots, B):
    total = tl.load(partial + rows, rows < B, 0)
    for slot in range(1, slots):
        total += tl.load(partial + slot * B + rows, rows < B, 0)
    return total


@triton.jit(do_not_specialize=["B"])
def row_moment_kernel(
    z, row_scale, diagonal, partial, row_stride, B, N, span,
    SCALE: tl.constexpr, EPS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Σ_i x_bi² d_i of all unit rows over one slot of columns."""
    slot = tl.program_id(0)
    rows = tl.arange(0, ROWS)
    s = tl.full((), SCALE, tl.float64)
    if SCALE == 0:
        s = B.to(tl.float64)
    inverse, _, _, scale = _row_inverse(diagonal, row_scale, rows, B, EPS)
    moment = tl.zeros((ROWS,), tl.float64)
    for start in range(slot * span, min(slot * span + span, N), COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        x = _unit_rows(z, row_stride, rows, columns, B, N, scale, inverse).to(tl.float64)
        moment += tl.sum(x * x * (tl.sum(x * x, 0) / s)[None, :], 1)
    tl.store(partial + slot * B + rows, moment, rows < B)


@triton.jit(do_not_specialize=["B", "slots"])
def gradient_kernel(
    z, row_scale, K, diagonal, row_moment, partial, counter, loss, gradient,
    row_stride, B, N, slots, tiles,
    NORM: tl.constexpr, SCALE: tl.constexpr, TARGET: tl.constexpr, LAMBDA: tl.constexpr,
    FACTOR: tl.constexpr, EPS: tl.constexpr, DELTA: tl.constexpr, NEED_GRAD: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """All rows of a tile of columns; the last tile to finish adds up the loss."""
    tile = tl.program_id(0)
    rows = tl.arange(0, ROWS)
    columns = tile * COLUMNS + tl.arange(0, COLUMNS)
    s = tl.full((), SCALE, tl.float64)
    if SCALE == 0:
        s = B.to(tl.float64)
    inner, outer = LAMBDA / s, 4 * FACTOR / s

    # x = z·row_inverse or the normalised columns; `unit` is the diagonal of K of x.
    unit = tl.load(diagonal + rows, rows < B, 0)
    row_inverse = tl.full((ROWS,), 1, tl.float64)
    if NORM == SAMPLE:
        scaled_inverse, squared, short, row_factor = _row_inverse(diagonal, row_scale, rows, B, EPS)
        unit = squared * scaled_inverse * scaled_inverse
        if (LAMBDA == 1) and (DELTA == 1):  # exact; NaN stays, and infinity becomes it
            unit = tl.where((squared >= short) & (squared < float("inf")), 1, unit)
        unit = tl.where(rows < B, unit, 0)
        row_inverse = scaled_inverse * row_factor
    if (NORM != NONE) and (NORM != SAMPLE):
        mean, rest, inverse, column_squared = _column_statistics(
            z, row_stride, rows, columns, B, N, NORM, EPS
        )
        x = _normalised_columns(z, row_stride, rows, columns, B, N, mean, rest, inverse)
    elif NORM == SAMPLE:
        x = _unit_rows(z, row_stride, rows, columns, B, N, row_factor, scaled_inverse)
    else:
        x = _raw(z, row_stride, rows, columns, B, N)

    product = tl.zeros((ROWS, COLUMNS), tl.float32)
    off_diagonal = tl.zeros((ROWS,), tl.float64)
    for start in range(0, B, STEP):
        other = start + tl.arange(0, STEP)
        mask = (rows < B)[:, None] & (other < B)[None, :] & (rows[:, None] != other[None, :])
        k = tl.load(K + rows[:, None] * B + other[None, :], mask, 0)
        if NORM == SAMPLE:
            other_inverse, _, _, other_factor = _row_inverse(diagonal, row_scale, other, B, EPS)
            k = (k * scaled_inverse[:, None] * other_inverse[None, :]).to(tl.float32)
            y = _unit_rows(z, row_stride, other, columns, B, N, other_factor, other_inverse)
        elif NORM == NONE:
            y = _raw(z, row_stride, other, columns, B, N)
        else:
            y = _normalised_columns(z, row_stride, other, columns, B, N, mean, rest, inverse)
        off_diagonal += tl.sum(k.to(tl.float64) * k.to(tl.float64), 1)
        if NEED_GRAD:
            product = tl.dot(k, y, product, input_precision="ieee")

    x64 = x.to(tl.float64)
    d = tl.sum(x64 * x64, 0) / s
    if NEED_GRAD:
        alpha = tl.sum(unit, 0) / B
        if (NORM == NONE) and (LAMBDA == 1) and (DELTA == 1):
            alpha = TARGET * s
        c = tl.full((COLUMNS,), -TARGET, tl.float64)
        if (LAMBDA != 1) or (DELTA != 1):
            c = (d - TARGET) * DELTA - LAMBDA * d
        left_out = c + inner * alpha
        if NORM == SAMPLE:
            radial = inner * off_diagonal
            if LAMBDA != DELTA:
                radial += _add_slots(row_moment, rows, slots, B) * (DELTA - LAMBDA)
            kept = tl.where(squared < short, inner * unit - TARGET * DELTA, -radial)
        else:
            kept = inner * (unit - alpha)
        h = product * inner.to(tl.float32) + x * kept.to(tl.float32)[:, None]
        scale = row_inverse[:, None] * outer
        if NORM == SAMPLE:
            if LAMBDA != DELTA:
                h += x * (d * (DELTA - LAMBDA)).to(tl.float32)[None, :]
        elif NORM == NONE:
            h += x * left_out.to(tl.float32)[None, :]
        elif NORM == CENTER:
            h += x * left_out.to(tl.float32)[None, :] - (tl.sum(h, 0) / B)[None, :]
        else:
            radial = tl.sum(x64 * h.to(tl.float64), 0)
            if NORM == STANDARDIZE:
                multiple = left_out * (VARIANCE_EPS * inverse * inverse) - radial / B
                h -= (tl.sum(h, 0) / B)[None, :]
            else:
                multiple = tl.where(column_squared < EPS * EPS, left_out, -radial)
            h += x * multiple.to(tl.float32)[None, :]
            scale = scale * inverse[None, :]
        mask = (rows < B)[:, None] & (columns < N)[None, :]
        place = gradient + rows[:, None].to(tl.int64) * N + columns[None, :]
        tl.store(place, h * scale.to(tl.float32), mask)

    excess = tl.where(columns < N, d - TARGET, 0)
    tl.store(partial + 2 * tile, tl.sum(excess * excess, 0))
    tl.store(partial + 2 * tile + 1, tl.sum(d * d, 0))
    tl.debug_barrier()
    ticket = tl.atomic_add(counter, 1, sem="acq_rel", scope="gpu")
    if ticket == tiles - 1:
        squares = (tl.sum(off_diagonal, 0) + tl.sum(unit * unit, 0)) / (s * s)
        if (LAMBDA == 1) and (DELTA == 1):  # the d_i drop out, and nothing cancels
            value = squares - tl.sum(unit, 0) / s * (2 * TARGET)
            value += tl.full((), TARGET * TARGET, tl.float64) * N
        else:
            value = LAMBDA * squares
            for i in range(tiles):
                value += DELTA * tl.load(partial + 2 * i, cache_modifier=".cg")
                value -= LAMBDA * tl.load(partial + 2 * i + 1, cache_modifier=".cg")
        tl.store(loss, (FACTOR * value).to(tl.float32))
        tl.store(counter, 0)


def orthogonality_dual(z: Tensor, parameters: Parameters, need_grad: bool) -> tuple[Tensor, Tensor]:
    """Return the loss and ∂L/∂z (empty unless ``need_grad``), both float32.

    Args:
        z: (B, N) float16, bfloat16 or float32 with unit stride along N; B <= 256, B < N and fewer
            than 2³¹ elements.
        parameters: the formula.
        need_grad: whether to work out the gradient.
    """
    B, N = z.shape
    device = z.device
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else (8, 0)
    scales_rows = parameters.norm == CODES["sample"]
    row = orthogonality_dual_row(capability[0] * 10 + capability[1], B, scales_rows)
    blocks = triton.cdiv(B, row.side)
    pairs = blocks * (blocks + 1) // 2
    span = triton.cdiv(triton.cdiv(N, MAX_SLOTS), row.side) * row.side
    slots, tiles = triton.cdiv(N, span), triton.cdiv(N, row.columns)
    rows = max(16, triton.next_power_of_2(B))

    single: dict[str, Any] = {"device": device, "dtype": torch.float32}
    double: dict[str, Any] = {"device": device, "dtype": torch.float64}
    K, diagonal = torch.empty(B, B, **single), torch.empty(B, **double)
    partial = torch.empty(slots * pairs * row.side**2, **single)
    partial_diagonal = torch.empty(slots * B, **double)
    sums = torch.empty(tiles, 2, **double)
    counters = counters_for(device, pairs + 1)
    loss = torch.empty((), **single)
    gradient = torch.empty((B, N) if need_grad else 0, **single)
    row_scale = torch.empty(B, **single)
    with torch.cuda.device_of(z):
        if scales_rows:
            row_scale_kernel[(B,)](z, row_scale, z.stride(0), N, WIDTH=1024)
        gram_kernel[(pairs, slots)](
            z, row_scale, partial, partial_diagonal, K, diagonal, counters,
            z.stride(0), B, N, span, slots, pairs,
            **parameters.constants("NORM", "EPS"), ROWS=rows, SIDE=row.side, DEPTH=row.depth,
            num_warps=row.gram_warps,
        )  # fmt: skip
        row_moment = partial_diagonal  # read for the last time by the launch above
        if scales_rows and need_grad and parameters.offdiag_weight != parameters.diagonal_weight:
            row_moment_kernel[(slots,)](
                z, row_scale, diagonal, row_moment, z.stride(0), B, N, span,
                **parameters.constants("SCALE", "EPS"),
                ROWS=rows, COLUMNS=row.columns, num_warps=row.gradient_warps,
            )  # fmt: skip
        gradient_kernel[(tiles,)](
            z, row_scale, K, diagonal, row_moment, sums, counters[pairs:], loss, gradient,
            z.stride(0), B, N, slots, tiles,
            **parameters.constants("NORM", "SCALE", "TARGET", "LAMBDA", "FACTOR", "EPS", "DELTA"),
            NEED_GRAD=need_grad, ROWS=rows, COLUMNS=row.columns, STEP=row.step,
            num_warps=row.gradient_warps,
        )  # fmt: skip
    return loss, gradient
