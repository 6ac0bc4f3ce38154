"""Alignment loss: gather, normalise, dot, loss and gradients in one launch.

    L = f/B Σ_b (2 − 2 cos_b),  cos = ⟨a, t⟩/(r_a r_t),  r = max(‖·‖, ε),  t: z_t[b or index[b]]
    ∂L/∂a = −2f/B (t − q a)/(r_a r_t),  q = ⟨a, t⟩/‖a‖²  (‖a‖ < ε: q = 0),  and by symmetry ∂L/∂t

A program has a row at a time, and keeps it on chip from the sums to the gradient (up to 4096
columns; the rest is read again). The last program to finish adds the programs' parts of the loss
in order. Sums and the projection are float64: a few operations for an element that is read from
memory anyway, and near cos = 1 the gradient is what is left of two equal vectors.
"""

import torch
import triton
import triton.language as tl
from mflag.kernels.counters import counters_for
from mflag.kernels.launch_table import alignment_row
from torch import Tensor

EPS = tl.constexpr(1e-12)
MAX_PROGRAMS = 2048  # fills every GPU; the bits depend on it, not on the GPU


@triton.jit
def _load(row, step, column, D):
    # 64 bits: a column of a transposed table is far from the next one.
    return tl.load(row + column.to(tl.int64) * step, column < D, 0).to(tl.float64)


@triton.jit
def _store_projected(gradient, row, column, D, own, other, q, scale):
    value = ((other - q * own) * scale).to(gradient.dtype.element_ty)
    tl.store(gradient + row * D + column, value, column < D)


# B is 1 in practice too, and triton would make a Python integer of it.
@triton.jit(do_not_specialize=["B"])
def alignment_kernel(
    z_a, z_t, index, partial, counter, loss, gradient_a, gradient_t,
    B, D, rows, a_stride, a_step, t_stride, t_step, index_step,
    FACTOR: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Every ``programs``-th row; None for ``index`` or a gradient leaves it out."""
    program, programs = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    column = tl.arange(0, WIDTH)
    slope = tl.full((), -2 * FACTOR, tl.float64) / B
    total = tl.zeros((), tl.float64)
    for row in range(program, B.to(tl.int64), programs):
        source, known = row, 1.0
        if index is not None:
            source = tl.load(index + row * index_step)
            # Costs no launch and no copy to the host; the device fails as in torch's own indexing.
            # The interpreter has no assertions: there the row is NaN.
            is_inside = (source >= 0) & (source < rows)
            tl.device_assert(is_inside, "index is outside of the table")
            source = tl.where(is_inside, source, 0)
            known = tl.where(is_inside, 1.0, float("nan"))
        a_row = z_a + row * a_stride
        t_row = z_t + source * t_stride
        x, y = _load(a_row, a_step, column, D), _load(t_row, t_step, column, D)
        xx, yy, xy = x * x, y * y, x * y
        for start in range(WIDTH, D, WIDTH):
            far_x = _load(a_row, a_step, start + column, D)
            far_y = _load(t_row, t_step, start + column, D)
            xx += far_x * far_x
            yy += far_y * far_y
            xy += far_x * far_y
        aa, tt, at = tl.sum(xx, 0), tl.sum(yy, 0), tl.sum(xy, 0)
        a_is_short, t_is_short = aa < EPS * EPS, tt < EPS * EPS  # NaN is not short, and stays NaN
        r_a, r_t = tl.where(a_is_short, EPS, tl.sqrt(aa)), tl.where(t_is_short, EPS, tl.sqrt(tt))
        inverse = known / (r_a * r_t)
        total += 2 - 2 * at * inverse
        # With q, not cos, the radial part is rounded once.
        q_a = tl.where(a_is_short, 0, at / tl.where(a_is_short, 1, aa))
        q_t = tl.where(t_is_short, 0, at / tl.where(t_is_short, 1, tt))
        scale = slope * inverse
        if gradient_a is not None:
            _store_projected(gradient_a, row, column, D, x, y, q_a, scale)
        if gradient_t is not None:
            _store_projected(gradient_t, row, column, D, y, x, q_t, scale)
        for start in range(WIDTH, D, WIDTH):
            far_x = _load(a_row, a_step, start + column, D)
            far_y = _load(t_row, t_step, start + column, D)
            if gradient_a is not None:
                _store_projected(gradient_a, row, start + column, D, far_x, far_y, q_a, scale)
            if gradient_t is not None:
                _store_projected(gradient_t, row, start + column, D, far_y, far_x, q_t, scale)

    tl.store(partial + program, total)
    tl.debug_barrier()
    ticket = tl.atomic_add(counter, 1, sem="acq_rel", scope="gpu")
    if ticket == programs - 1:
        slot = tl.arange(0, 256)
        sums = tl.zeros((256,), tl.float64)
        for start in range(0, programs, 256):
            place = partial + start + slot
            sums += tl.load(place, start + slot < programs, 0, cache_modifier=".cg")
        value = FACTOR * (tl.sum(sums, 0) / B)
        tl.store(loss, value.to(loss.dtype.element_ty))
        tl.store(counter, 0)


def alignment(
    z_a: Tensor, z_t: Tensor, index: Tensor | None, factor: float, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss, ∂L/∂z_a and ∂L/∂z_t, float32, or float64 for float64 ``z_a``.

    Args:
        z_a: (B, D), a float dtype, any strides.
        z_t: (B, D), or with ``index`` the table (M, D); a float dtype, any strides.
        index: (B,) int64 rows of the table, any stride, or None. One outside of it stops the
            device, as torch's own indexing does.
        factor: f; compiled in, so that it is not rounded to float32.
        wanted: whether to work out the first and the second gradient; the other is empty.
    """
    B, D = z_a.shape
    device = z_a.device
    dtype = torch.float64 if z_a.dtype == torch.float64 else torch.float32
    loss = torch.empty((), dtype=dtype, device=device)
    gradient_a, gradient_t = (
        torch.empty((B, D) if is_wanted else 0, dtype=dtype, device=device) for is_wanted in wanted
    )
    programs = min(B, MAX_PROGRAMS)
    partial = torch.empty(programs, dtype=torch.float64, device=device)
    counter = counters_for(device, 1)
    row = alignment_row(D)
    step = 0 if index is None else index.stride(0)
    with torch.cuda.device_of(z_a):
        alignment_kernel[(programs,)](
            z_a, z_t, index, partial, counter, loss,
            gradient_a if wanted[0] else None, gradient_t if wanted[1] else None,
            B, D, z_t.shape[0], *z_a.stride(), *z_t.stride(), step,
            FACTOR=float(factor), WIDTH=row.width, num_warps=row.warps,
            debug=True, sanitize_overflow=False,  # debug is what makes device_assert one
        )  # fmt: skip
    return loss, gradient_a, gradient_t
