"""Orthogonality loss of any size: torch's products between fused launches; also of own rows alone.

    dual (B < N): M from K = xxᵀ, ∂L/∂x = (4a/s)[M x + left_out·x]; primal: W from xᵀx, x·W

The launches: statistics, x, its sums; product; weights in place of the Gram matrix; loss; product;
sums over columns where the norm has them; backward of the norm in place of the product.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from mflag.kernels.gram_weights import lower_products, scale_of, weights_kernel
from mflag.kernels.launch_table import gram_tiles
from mflag.kernels.norm_backward import through_columns, through_rows
from mflag.kernels.normalise import (
    BLOCK,
    Normalised,
    capability_of,
    normalise,
)
from mflag.kernels.orthogonality_formula import CODES, Parameters
from torch import Tensor


class Rows(NamedTuple):
    """The rows whose gradient is asked for, and how to add up over all who have the others."""

    first: int
    length: int
    total: Callable[[Tensor], Tensor] | None


@triton.jit
def _total(values, count, shift, BLOCK: tl.constexpr):
    """Σ (v − shift) and Σ (v − shift)², in float64 and fixed order."""
    total = tl.zeros((BLOCK,), tl.float64)
    squares = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, count, BLOCK):
        index = start + tl.arange(0, BLOCK)
        value = tl.load(values + index, index < count, 0)
        value = tl.where(index < count, value - shift, 0)
        total += value
        squares += value * value
    return tl.sum(total, 0), tl.sum(squares, 0)


@triton.jit(do_not_specialize=["count", "B", "N"])
def loss_kernel(
    partial, diagonal, d, loss, count, B, N,
    SCALE: tl.constexpr, TARGET: tl.constexpr, LAMBDA: tl.constexpr, FACTOR: tl.constexpr,
    DELTA: tl.constexpr, IS_DUAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The value, by one program."""
    s = scale_of(B, SCALE)
    squares, _ = _total(partial, count, 0.0, BLOCK)
    if IS_DUAL:
        sum_diagonal, squared_diagonal = _total(diagonal, B, 0.0, BLOCK)
        squares += squared_diagonal
    squares = squares / (s * s)
    if IS_DUAL and (LAMBDA == 1) and (DELTA == 1):  # the d_i drop out, and nothing cancels
        value = squares - sum_diagonal / s * (2 * TARGET)
        value += tl.full((), TARGET * TARGET, tl.float64) * N
    else:
        target = tl.full((), TARGET, tl.float64)
        _, excess = _total(d, N, target, BLOCK)
        if IS_DUAL:
            _, squared_d = _total(d, N, 0.0, BLOCK)
            squares -= squared_d
        value = squares * LAMBDA + excess * DELTA
    tl.store(loss, (value * FACTOR).to(tl.float32))


def orthogonality_large(
    z: Tensor, parameters: Parameters, need_grad: bool, own: Rows | None = None
) -> tuple[Tensor, Tensor]:
    """Return the loss and ∂L/∂z (empty unless ``need_grad``), both float32.

    Args:
        z: (B, N) contiguous float16, bfloat16 or float32; any size.
        parameters: the formula.
        need_grad: whether to work out the gradient.
        own: the rows of the gradient that are wanted, None for all; in the dual only these rows of
            K are formed, and ``own.total`` adds up over the others.
    """
    with torch.cuda.device_of(z):
        return _value_and_gradient(z, parameters, need_grad, own)


def _value_and_gradient(
    z: Tensor, parameters: Parameters, need_grad: bool, own: Rows | None
) -> tuple[Tensor, Tensor]:
    B, N = z.shape
    is_dual = B < N
    needs_d = not (is_dual and parameters.is_whole)
    normalised = normalise(z, parameters, needs_rows=is_dual, needs_columns=needs_d)
    rows = own or Rows(0, B, None)
    x = normalised.x[rows.first : rows.first + rows.length]
    weights, partial, alpha = _weights(normalised, parameters, rows)
    loss = torch.empty((), device=z.device)
    loss_kernel[(1,)](
        partial, normalised.diagonal, normalised.d, loss, partial.numel(), B, N,
        **parameters.constants("SCALE", "TARGET", "LAMBDA", "FACTOR", "DELTA"),
        IS_DUAL=is_dual, BLOCK=BLOCK, num_warps=4,
    )  # fmt: skip
    gradient = torch.empty((rows.length, N) if need_grad else 0, device=z.device)
    if need_grad:
        torch.mm(*((weights, normalised.x) if is_dual else (x, weights)), out=gradient)
        if parameters.norm == CODES["sample"]:
            through_rows(gradient, x, normalised, alpha, parameters, rows.first)
        else:
            through_columns(gradient, x, normalised, alpha, parameters, rows.total)
    return loss, gradient


def _weights(
    normalised: Normalised, parameters: Parameters, rows: Rows
) -> tuple[Tensor, Tensor, Tensor]:
    """Return M or W, the sums of squares off the Gram matrix's diagonal, and α."""
    x = normalised.x
    B, N = x.shape
    is_dual = B < N
    is_part = is_dual and rows.total is not None
    height, width = (rows.length if is_part else min(B, N)), min(B, N)
    row = gram_tiles(capability_of(x.device))
    double: dict[str, Any] = {"device": x.device, "dtype": torch.float64}
    gram, alpha = torch.empty(height, width, device=x.device), torch.empty(1, **double)
    if is_part:
        torch.mm(x[rows.first : rows.first + rows.length], x.T, out=gram)
    else:
        lower_products(x if is_dual else x.T, gram, row)
    grid = triton.cdiv(height, row.side), triton.cdiv(width, row.side)
    count = grid[0] * grid[1] if is_part else grid[0] * (grid[0] + 1) // 2
    partial = torch.empty(count, **double)
    weights_kernel[grid](
        gram, normalised.diagonal if is_dual else normalised.d, partial, alpha,
        height, width, rows.first if is_part else 0, B,
        **parameters.constants("NORM", "SCALE", "TARGET", "LAMBDA", "DELTA"),
        IS_DUAL=is_dual, IS_TRIANGLE=not is_part, SIDE=row.side, BLOCK=BLOCK, num_warps=row.warps,
    )  # fmt: skip
    if is_part and rows.total is not None:
        partial = rows.total(partial.sum(0, keepdim=True))
    return gram, partial, alpha
