"""Barlow Twins loss of two views, both standardised: torch's products between fused launches.

x, y (B, N),  d_i = Σ_b x_bi y_bi/B,  c_i = (d_i − 1) − λ d_i
dual (B < N)  L = Σ_i (d_i − 1)² + λ (⟨K_x, K_y⟩/B² − Σ_i d_i²),  h_x = (λ/B) K_y x + y·diag(c)
primal        L = Σ_i (d_i − 1)² + λ ‖C‖²/B²,  h_x = (λ/B) y Cᵀ + y·diag(d − 1),  C = xᵀy less its
              diagonal: nothing cancels
∂L/∂x = (2/B) h_x;  h_y by symmetry
"""

import torch
import triton
import triton.language as tl
from mflag.kernels.gram_weights import lower_products
from mflag.kernels.launch_table import gram_tiles
from mflag.kernels.norm_backward import column_dots_kernel
from mflag.kernels.normalise import (
    ADD_UP_BLOCK,
    BLOCK,
    Normalised,
    add_up_kernel,
    capability_of,
    chunk_sums,
    normalise,
    radius,
    store_chunk_sums,
    tiling_of,
)
from mflag.kernels.orthogonality_formula import CODES, STANDARDIZE, Parameters
from torch import Tensor


@triton.jit(do_not_specialize=["height", "width"])
def pair_sums_kernel(a, b, partial, height, width, IS_DUAL: tl.constexpr, SIDE: tl.constexpr):
    """⟨a, b⟩ over a tile. Dual: of symmetric a, b of which only the lower triangle is valid.

    There the upper tiles are written, as the products that follow need the whole square. Primal:
    ‖a‖², and the diagonal of a becomes 0.
    """
    tile_row, tile_column = tl.program_id(0), tl.program_id(1)
    if (not IS_DUAL) or (tile_column <= tile_row):
        rows = tile_row * SIDE + tl.arange(0, SIDE)
        columns = tile_column * SIDE + tl.arange(0, SIDE)
        mask = (rows < height)[:, None] & (columns < width)[None, :]
        place = rows[:, None].to(tl.int64) * width + columns[None, :]
        value_a = tl.load(a + place, mask, 0)
        if IS_DUAL:
            value_b = tl.load(b + place, mask, 0)
        else:
            value_a = tl.where(rows[:, None] == columns[None, :], 0, value_a)
            value_b = value_a
            tl.store(a + place, value_a, mask & (tile_row == tile_column))
        products = value_a.to(tl.float64) * value_b.to(tl.float64)
        total = tl.sum(tl.sum(products, 1), 0)
        index = tile_row.to(tl.int64) * tl.num_programs(1) + tile_column
        if IS_DUAL:
            index = tile_row.to(tl.int64) * (tile_row + 1) // 2 + tile_column
            if tile_row != tile_column:
                total = total * 2
                place = columns[:, None].to(tl.int64) * width + rows[None, :]
                mask = (columns < height)[:, None] & (rows < width)[None, :]
                tl.store(a + place, tl.trans(value_a), mask)
                tl.store(b + place, tl.trans(value_b), mask)
        tl.store(partial + index, total)


@triton.jit(do_not_specialize=["count", "B", "N"])
def barlow_loss_kernel(
    partial, d, loss, count, B, N, LAMBDA: tl.constexpr, IS_DUAL: tl.constexpr, BLOCK: tl.constexpr
):
    """The value, by one program."""
    total = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, count, BLOCK):
        index = start + tl.arange(0, BLOCK)
        total += tl.load(partial + index, index < count, 0)
    squares = tl.sum(total, 0) / B / B
    on_diagonal = tl.zeros((BLOCK,), tl.float64)
    diagonal = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, N, BLOCK):
        index = start + tl.arange(0, BLOCK)
        value = tl.load(d + index, index < N, 0)
        diagonal += value * value
        excess = tl.where(index < N, value - 1, 0)
        on_diagonal += excess * excess
    if IS_DUAL:
        squares -= tl.sum(diagonal, 0)
    value = squares * LAMBDA + tl.sum(on_diagonal, 0)
    tl.store(loss, value.to(tl.float32))


@triton.jit
def _unprojected(
    product,
    x,
    y,
    d,
    rows_and_columns,
    mask,
    columns,
    B,
    N,
    LAMBDA: tl.constexpr,
    IS_DUAL: tl.constexpr,
):
    """X and h of a tile."""
    own_d = tl.load(d + columns, columns < N, 0)
    c = own_d - 1
    if IS_DUAL:
        c -= own_d * LAMBDA
    factor = (tl.full((), LAMBDA, tl.float64) / B).to(tl.float32)
    h = tl.load(product + rows_and_columns, mask, 0) * factor
    h += tl.load(y + rows_and_columns, mask, 0) * c.to(tl.float32)[None, :]
    return tl.load(x + rows_and_columns, mask, 0), h


@triton.jit(do_not_specialize=["B", "rows_each"])
def barlow_dots_kernel(
    product, x, y, d, partial, B, N, rows_each,
    LAMBDA: tl.constexpr, IS_DUAL: tl.constexpr, STEP: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Σ h and Σ x·h over a chunk of rows, h = ∂L/∂x without 2/B."""
    tile, chunk = tl.program_id(0), tl.program_id(1)
    columns = tile * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((STEP, COLUMNS), tl.float64)
    radial = tl.zeros((STEP, COLUMNS), tl.float64)
    begin = chunk * rows_each
    for start in range(begin, min(begin + rows_each, B), STEP):
        rows = start + tl.arange(0, STEP)
        mask = (rows < B)[:, None] & (columns < N)[None, :]
        place = rows[:, None].to(tl.int64) * N + columns[None, :]
        value, h = _unprojected(product, x, y, d, place, mask, columns, B, N, LAMBDA, IS_DUAL)
        total += h.to(tl.float64)
        radial += value.to(tl.float64) * h.to(tl.float64)
    store_chunk_sums(partial, chunk, columns, N, tl.sum(total, 0), tl.sum(radial, 0))


@triton.jit(do_not_specialize=["B", "rows_each", "chunks"])
def barlow_backward_kernel(
    product, x, y, d, partial, squared, B, N, rows_each, chunks,
    LAMBDA: tl.constexpr, IS_DUAL: tl.constexpr, STEP: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """(2/B) (h − mean h − x·mean(x∘h))/r in place of the product."""
    tile, chunk = tl.program_id(0), tl.program_id(1)
    columns = tile * COLUMNS + tl.arange(0, COLUMNS)
    share = tl.full((), 1, tl.float64) / B
    column_squared = tl.load(squared + columns, columns < N, 1)
    scale = (2 * share / radius(column_squared, B, STANDARDIZE, 0.0)).to(tl.float32)
    total, radial = chunk_sums(partial, columns, chunks, N)
    mean, radial = (total * share).to(tl.float32), (radial * share).to(tl.float32)
    begin = chunk * rows_each
    for start in range(begin, min(begin + rows_each, B), STEP):
        rows = start + tl.arange(0, STEP)
        mask = (rows < B)[:, None] & (columns < N)[None, :]
        place = rows[:, None].to(tl.int64) * N + columns[None, :]
        value, h = _unprojected(product, x, y, d, place, mask, columns, B, N, LAMBDA, IS_DUAL)
        h = (h - mean[None, :] - value * radial[None, :]) * scale[None, :]
        tl.store(product + place, h, mask)


def barlow_twins(
    z_a: Tensor, z_b: Tensor, offdiag_weight: float, need_grad: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss and its gradients by z_a and z_b (empty unless ``need_grad``), float32.

    Args:
        z_a: (B, N) contiguous float16, bfloat16 or float32; any size.
        z_b: (B, N) likewise.
        offdiag_weight: λ.
        need_grad: whether to work out the gradients.
    """
    with torch.cuda.device_of(z_a):
        return _value_and_gradients(z_a, z_b, offdiag_weight, need_grad)


def _value_and_gradients(
    z_a: Tensor, z_b: Tensor, λ: float, need_grad: bool
) -> tuple[Tensor, Tensor, Tensor]:
    B, N = z_a.shape
    standardise = Parameters(CODES["standardize"], 0.0, 1.0, λ, 1.0, 0.0)
    views = [normalise(z, standardise, needs_rows=False, needs_columns=False) for z in (z_a, z_b)]
    x, y = (view.x for view in views)
    d = _cross_diagonal(x, y)
    grams = _grams(x, y)
    partial = _pair_sums(*grams)
    loss = torch.empty((), device=x.device)
    barlow_loss_kernel[(1,)](
        partial, d, loss, partial.numel(), B, N, LAMBDA=λ, IS_DUAL=B < N, BLOCK=BLOCK, num_warps=4
    )
    if not need_grad:
        return loss, x.new_empty(0), x.new_empty(0)
    if B < N:
        gradients = grams[1] @ x, grams[0] @ y
    else:
        gradients = y @ grams[0].T, x @ grams[0]
    _through_both(gradients, views, d, λ)
    return loss, *gradients


def _cross_diagonal(x: Tensor, y: Tensor) -> Tensor:
    """Return the d_i."""
    B, N = x.shape
    tiling = tiling_of(x.device, B, N)
    partial = torch.empty(tiling.chunks, 2, N, device=x.device, dtype=torch.float64)
    column_dots_kernel[tiling.grid](y, x, partial, B, N, tiling.rows_each, **tiling.constants)
    both = torch.empty(2 * N, device=x.device, dtype=torch.float64)  # Σ y, and Σ x∘y
    add_up_kernel[(triton.cdiv(2 * N, ADD_UP_BLOCK),)](
        partial, partial, partial, both, both, B, 2 * N, 0, tiling.chunks, 0,
        SCALE=0.0, EPS=0.0, IS_UNIT=False, BLOCK=ADD_UP_BLOCK,
    )  # fmt: skip
    return both[N:]


def _grams(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return K_x and K_y, of which the upper triangle may be missing; in the primal xᵀy twice."""
    B, N = x.shape
    if B >= N:
        C = x.T @ y
        return C, C
    grams = x.new_empty(B, B), x.new_empty(B, B)
    for view, gram in zip((x, y), grams, strict=True):
        lower_products(view, gram, gram_tiles(capability_of(x.device)))
    return grams


def _pair_sums(a: Tensor, b: Tensor) -> Tensor:
    """Return sums of a∘b over tiles; symmetric matrices are completed on the way."""
    row = gram_tiles(capability_of(a.device))
    is_dual = a is not b
    tiles = triton.cdiv(a.shape[0], row.side)
    count = tiles * (tiles + 1) // 2 if is_dual else tiles * tiles
    partial = torch.empty(count, device=a.device, dtype=torch.float64)
    pair_sums_kernel[tiles, tiles](
        a, b, partial, *a.shape, IS_DUAL=is_dual, SIDE=row.side, num_warps=row.warps
    )
    return partial


def _through_both(
    gradients: tuple[Tensor, Tensor], views: list[Normalised], d: Tensor, λ: float
) -> None:
    """Turn the products of both views into their gradients."""
    B, N = views[0].x.shape
    tiling = tiling_of(d.device, B, N)
    partial = torch.empty(tiling.chunks, 2, N, device=d.device, dtype=torch.float64)
    for gradient, own, other in zip(gradients, views, views[::-1], strict=True):
        barlow_dots_kernel[tiling.grid](
            gradient, own.x, other.x, d, partial, B, N, tiling.rows_each,
            LAMBDA=λ, IS_DUAL=B < N, **tiling.constants,
        )  # fmt: skip
        barlow_backward_kernel[tiling.grid](
            gradient, own.x, other.x, d, partial, own.squared,
            B, N, tiling.rows_each, tiling.chunks,
            LAMBDA=λ, IS_DUAL=B < N, **tiling.constants,
        )  # fmt: skip
