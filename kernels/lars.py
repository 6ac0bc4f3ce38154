"""LARS over all tensors of a list: two launches, norms and update.

    u = a·g + d·w,  m ← μ·m + c·u,  w ← w − step·(m, or u + μ·m with nesterov, or u without m)

A program takes one chunk of one tensor; two tables on the device say which, and where it lies.
The first launch writes each chunk's sums of squares to fixed places; the last chunk of a tensor to
finish adds them in a fixed order in float64 and works out a, d, c and step. Learning rate, gradient
scale and the flag of non-finite gradients are read on the device.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from mflag.kernels.counters import counters_for
from mflag.kernels.lars_carried import carried_update_kernel, repair_kernel
from mflag.kernels.lars_device import (
    MOMENTUM,
    SEPARATE,
    grad_factor,
    load_chunk,
    number,
    place_of,
    pointer_to,
    squares,
    store_chunk,
    total_of,
    trust_ratio,
)
from mflag.kernels.lars_tables import CHUNK, Rule, tables_of
from mflag.kernels.launch_table import lars_row
from torch import Tensor

DTYPES = {
    torch.float32: tl.float32,
    torch.float64: tl.float64,
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
}


@triton.jit
def norms_kernel(
    table, chunk_rows, lr, grad_scale, found_inf, partial, counters, coefficients,
    W: tl.constexpr, G: tl.constexpr, M: tl.constexpr, COMPUTE: tl.constexpr,
    NORM: tl.constexpr, ZERO_IS_PLAIN: tl.constexpr, TRUST_CLIP: tl.constexpr,
    CLIP_ZERO_NORM: tl.constexpr, LR_IN_MOMENTUM: tl.constexpr, MAXIMIZE: tl.constexpr,
    HAS_STARTED: tl.constexpr, CARRIES: tl.constexpr,
    IS_ALIGNED: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Sums of squares of one chunk; the last chunk of a tensor works out its coefficients.

    With CARRIES (separate norms), Σw² is the one that the step before left, if it is finite.
    """
    if found_inf is not None:
        if tl.load(found_inf) != 0:
            return
    chunk = tl.program_id(0)
    row, entry, start, left = place_of(table, chunk_rows, chunk, CHUNK)
    is_plain = tl.load(entry + 6) != 0
    factor = grad_factor(grad_scale, MAXIMIZE)
    decay = number(table, 2)
    if not is_plain:
        w_at = pointer_to(tl.load(entry), start, W, IS_ALIGNED)
        if CARRIES:
            sum_w = tl.load(tl.load(entry + 7).to(tl.pointer_type(tl.float64)) + start // CHUNK)
            if not (sum_w < float("inf")):
                sum_w = squares(load_chunk(w_at, left, COMPUTE, CHUNK))
        else:
            w = load_chunk(w_at, left, COMPUTE, CHUNK)
        x = load_chunk(pointer_to(tl.load(entry + 1), start, G, IS_ALIGNED), left, COMPUTE, CHUNK)
        x = x * factor.to(COMPUTE)
        if NORM != SEPARATE:
            x = tl.where(decay != 0, x + decay.to(COMPUTE) * w, x)
        if NORM == MOMENTUM:
            m = load_chunk(
                pointer_to(tl.load(entry + 2), start, M, IS_ALIGNED), left, COMPUTE, CHUNK
            )
            mu = number(table, 0)
            x = mu.to(COMPUTE) * m + (1 - mu).to(COMPUTE) * x
        if not CARRIES:
            sum_w = squares(w)
        tl.store(partial + 2 * chunk, sum_w)
        tl.store(partial + 2 * chunk + 1, squares(x))

    tl.debug_barrier()
    count = tl.maximum(tl.cdiv(tl.load(entry + 4), CHUNK), 1)
    ticket = tl.atomic_add(counters + row, 1, sem="acq_rel", scope="gpu")
    if ticket == count - 1:
        tl.store(counters + row, 0)
        rate = tl.load(lr).to(tl.float64)
        q = tl.full((), 1, tl.float64)
        if not is_plain:
            first = tl.load(entry + 5)
            q, is_zero = trust_ratio(
                table, total_of(partial, first, count), total_of(partial + 1, first, count), rate,
                NORM, ZERO_IS_PLAIN, TRUST_CLIP, CLIP_ZERO_NORM,
            )  # fmt: skip
            if ZERO_IS_PLAIN and (NORM != MOMENTUM):
                decay = tl.where(is_zero, 0, decay)
        else:
            decay = decay * 0
        a, d, c, step = factor, decay, tl.full((), 1, tl.float64), rate
        if NORM == MOMENTUM:
            c, step = 1 - number(table, 0), rate * q
        else:
            if LR_IN_MOMENTUM:
                q, step = q * rate, tl.full((), 1, tl.float64)
            a, d = q * factor, q * decay
        if HAS_STARTED:
            flag = tl.load(entry + 3).to(tl.pointer_type(tl.float32))
            c = tl.where(tl.load(flag) != 0, (1 - number(table, 1)) * c, c)
            tl.store(flag, 1.0)
        own = coefficients + 4 * row
        tl.store(own, a)
        tl.store(own + 1, d)
        tl.store(own + 2, c)
        tl.store(own + 3, step)


@triton.jit
def update_kernel(
    table, chunk_rows, found_inf, coefficients,
    W: tl.constexpr, G: tl.constexpr, M: tl.constexpr, COMPUTE: tl.constexpr,
    HAS_MOMENTUM: tl.constexpr, NESTEROV: tl.constexpr,
    IS_ALIGNED: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """New weights and buffers of one chunk; backwards: what was read last is still in L2."""
    if found_inf is not None:
        if tl.load(found_inf) != 0:
            return
    chunk = tl.num_programs(0) - 1 - tl.program_id(0)
    row, entry, start, left = place_of(table, chunk_rows, chunk, CHUNK)
    own = coefficients + 4 * row
    a, d = tl.load(own).to(COMPUTE), tl.load(own + 1).to(COMPUTE)
    c, step = tl.load(own + 2).to(COMPUTE), tl.load(own + 3).to(COMPUTE)
    w_at = pointer_to(tl.load(entry), start, W, IS_ALIGNED)
    w = load_chunk(w_at, left, COMPUTE, CHUNK)
    s = a * load_chunk(pointer_to(tl.load(entry + 1), start, G, IS_ALIGNED), left, COMPUTE, CHUNK)
    s = tl.where(d != 0, s + d * w, s)  # without decay a non-finite weight does not spread
    if HAS_MOMENTUM:
        mu = number(table, 0).to(COMPUTE)
        m_at = pointer_to(tl.load(entry + 2), start, M, IS_ALIGNED)
        m = mu * load_chunk(m_at, left, COMPUTE, CHUNK) + c * s
        store_chunk(m_at, m.to(M), left, CHUNK)
        s = s + mu * m if NESTEROV else m
    store_chunk(w_at, (w - step * s).to(W), left, CHUNK)


def lars_step(
    params: list[Tensor],
    grads: list[Tensor],
    buffers: list[Tensor],
    started: list[Tensor],
    scalars: tuple[Tensor, Tensor | None, Tensor | None],
    is_plain: list[bool],
    rule: Rule,
    carried: list[Tensor] | None = None,
    tripped: Tensor | None = None,
) -> None:
    """Step tensors of one device and one (weight, gradient, buffer) triple of dtypes in place.

    Args:
        params: n weights without gaps or overlaps in memory.
        grads: n gradients whose values pair with the weights' by their order in memory.
        buffers: n buffers that pair likewise; empty: no momentum.
        started: n () float32 flags, or empty.
        scalars: () γ, gradient scale or None, flag of non-finite gradients or None; float32 or
            float64, on the device.
        is_plain: n times, whether the tensor gets u = g.
        rule: the formula.
        carried: n (chunks,) float64: each chunk's Σw² from the step before, NaN for none; written.
            Then there is a third launch, the rule has separate norms, and ``tripped`` is needed.
        tripped: () float32, set to 1 when a carried sum was not that of the weight; the step is
            then done again with the right one.
    """
    device = params[0].device
    table, chunk_rows, chunks, is_aligned = tables_of(
        params, grads, buffers, started, carried or [], is_plain, rule
    )
    types = [DTYPES[x[0].dtype] if x else tl.float32 for x in (params, grads, buffers)]
    compute = tl.float64 if tl.float64 in types[:2] else tl.float32
    partial = torch.empty(2 * chunks, dtype=torch.float64, device=device)
    coefficients = torch.empty(4 * len(params), dtype=torch.float64, device=device)
    shared: dict[str, Any] = dict(zip(("W", "G", "M"), types, strict=True))
    shared |= {"COMPUTE": compute, "IS_ALIGNED": is_aligned, "CHUNK": CHUNK}
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else (8, 0)
    launch = lars_row(capability[0] * 10 + capability[1])
    lr, grad_scale, found_inf = scalars
    ratio = {
        "ZERO_IS_PLAIN": rule.zero_is_plain, "TRUST_CLIP": rule.trust_clip,
        "CLIP_ZERO_NORM": rule.clip_zero_norm, "LR_IN_MOMENTUM": rule.lr_in_momentum,
        "MAXIMIZE": rule.maximize,
    }  # fmt: skip
    moves = {"HAS_MOMENTUM": bool(buffers), "NESTEROV": rule.nesterov}
    with torch.cuda.device_of(params[0]):
        norms_kernel[(chunks,)](
            table, chunk_rows, lr, grad_scale, found_inf, partial,
            counters_for(device, len(params)), coefficients,
            NORM=rule.norm, HAS_STARTED=bool(started), CARRIES=bool(carried),
            num_warps=launch.norms_warps, **ratio, **shared,
        )  # fmt: skip
        if not carried:
            update_kernel[(chunks,)](
                table, chunk_rows, found_inf, coefficients,
                num_warps=launch.update_warps, **moves, **shared,
            )  # fmt: skip
            return
        is_written = torch.empty(chunks, dtype=torch.int32, device=device)
        is_wrong = torch.zeros(len(params), dtype=torch.int32, device=device)
        carried_update_kernel[(chunks,)](
            table, chunk_rows, found_inf, coefficients, partial, is_written, is_wrong, tripped,
            num_warps=launch.update_warps, **moves, **shared,
        )  # fmt: skip
        repair_kernel[(chunks,)](
            table, chunk_rows, lr, grad_scale, found_inf, coefficients, partial, is_written,
            is_wrong, num_warps=launch.update_warps, **ratio, **moves, **shared,
        )  # fmt: skip
