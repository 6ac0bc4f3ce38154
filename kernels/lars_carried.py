"""The LARS update with carried weight norms: each Σw² is checked before its chunk is written.

Chunks that match are updated; when one of a tensor does not, a further launch takes the tensor's
step again with the right norm.
"""

import triton
import triton.language as tl
from mflag.kernels.lars_device import (
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

# Beyond this share a sum of squares is another one, not the same in another order.
SAME = tl.constexpr(1e-12)


@triton.jit
def carried_update_kernel(
    table, chunk_rows, found_inf, coefficients, partial, is_written, is_wrong, tripped,
    W: tl.constexpr, G: tl.constexpr, M: tl.constexpr, COMPUTE: tl.constexpr,
    HAS_MOMENTUM: tl.constexpr, NESTEROV: tl.constexpr,
    IS_ALIGNED: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """The update, but a chunk whose Σw² is not the carried one is left for the repair."""
    if found_inf is not None:
        if tl.load(found_inf) != 0:
            return
    chunk = tl.num_programs(0) - 1 - tl.program_id(0)
    row, entry, start, left = place_of(table, chunk_rows, chunk, CHUNK)
    own = coefficients + 4 * row
    a, d = tl.load(own).to(COMPUTE), tl.load(own + 1).to(COMPUTE)
    c, step = tl.load(own + 2).to(COMPUTE), tl.load(own + 3).to(COMPUTE)
    mu = number(table, 0).to(COMPUTE)
    w_at = pointer_to(tl.load(entry), start, W, IS_ALIGNED)
    w = load_chunk(w_at, left, COMPUTE, CHUNK)
    carried = tl.load(entry + 7).to(tl.pointer_type(tl.float64)) + start // CHUNK
    own_squares, before = squares(w), tl.load(carried)
    tl.store(partial + 2 * chunk, own_squares)
    is_carried = (before < float("inf")) & (tl.load(entry + 6) == 0)
    is_finite = own_squares < float("inf")  # infinity is within any share of itself
    is_same = is_finite & (tl.abs(own_squares - before) <= own_squares * SAME)
    is_good = (is_carried == 0) | is_same
    tl.store(is_written + chunk, is_good.to(tl.int32))
    if is_good:
        g = load_chunk(pointer_to(tl.load(entry + 1), start, G, IS_ALIGNED), left, COMPUTE, CHUNK)
        m_at = pointer_to(tl.load(entry + 2), start, M, IS_ALIGNED)
        s = a * g
        s = tl.where(d != 0, s + d * w, s)
        if HAS_MOMENTUM:
            m = mu * load_chunk(m_at, left, COMPUTE, CHUNK) + c * s
            store_chunk(m_at, m.to(M), left, CHUNK)
            s = s + mu * m if NESTEROV else m
        new = (w - step * s).to(W)
        store_chunk(w_at, new, left, CHUNK)
        tl.store(carried, squares(tl.where(tl.arange(0, CHUNK) < left, new.to(COMPUTE), 0)))
    else:
        tl.store(is_wrong + row, 1)
        tl.store(tripped, 1.0)


@triton.jit
def repair_kernel(
    table, chunk_rows, lr, grad_scale, found_inf, coefficients, partial, is_written, is_wrong,
    W: tl.constexpr, G: tl.constexpr, M: tl.constexpr, COMPUTE: tl.constexpr,
    ZERO_IS_PLAIN: tl.constexpr, TRUST_CLIP: tl.constexpr, CLIP_ZERO_NORM: tl.constexpr,
    LR_IN_MOMENTUM: tl.constexpr, MAXIMIZE: tl.constexpr,
    HAS_MOMENTUM: tl.constexpr, NESTEROV: tl.constexpr,
    IS_ALIGNED: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """The step of tensors that had a wrong carried norm, with the right one.

    A chunk that was updated by the wrong norm goes back first: both are linear in the step.
    """
    if found_inf is not None:
        if tl.load(found_inf) != 0:
            return
    chunk = tl.program_id(0)
    row, entry, start, left = place_of(table, chunk_rows, chunk, CHUNK)
    if tl.load(is_wrong + row) == 0:
        return
    first = tl.load(entry + 5)
    count = tl.maximum(tl.cdiv(tl.load(entry + 4), CHUNK), 1)
    rate = tl.load(lr).to(tl.float64)
    q, is_zero = trust_ratio(
        table, total_of(partial, first, count), total_of(partial + 1, first, count), rate,
        SEPARATE, ZERO_IS_PLAIN, TRUST_CLIP, CLIP_ZERO_NORM,
    )  # fmt: skip
    decay = number(table, 2)
    if ZERO_IS_PLAIN:
        decay = tl.where(is_zero, 0, decay)
    if LR_IN_MOMENTUM:
        q = q * rate
    a, d = (q * grad_factor(grad_scale, MAXIMIZE)).to(COMPUTE), (q * decay).to(COMPUTE)
    own = coefficients + 4 * row
    old_a, old_d = tl.load(own).to(COMPUTE), tl.load(own + 1).to(COMPUTE)
    c, step = tl.load(own + 2).to(COMPUTE), tl.load(own + 3).to(COMPUTE)
    mu = number(table, 0).to(COMPUTE)
    w_at = pointer_to(tl.load(entry), start, W, IS_ALIGNED)
    m_at = pointer_to(tl.load(entry + 2), start, M, IS_ALIGNED)
    g = load_chunk(pointer_to(tl.load(entry + 1), start, G, IS_ALIGNED), left, COMPUTE, CHUNK)
    w = load_chunk(w_at, left, COMPUTE, CHUNK)
    if HAS_MOMENTUM:
        m = load_chunk(m_at, left, COMPUTE, CHUNK)
    if tl.load(is_written + chunk) != 0:
        s = old_a * g
        if HAS_MOMENTUM:
            s = s + mu * m if NESTEROV else m
        w = w + step * s
        if NESTEROV or not HAS_MOMENTUM:
            w = w / (1 - step * old_d)
        if HAS_MOMENTUM:
            m = m - c * tl.where(old_d != 0, old_a * g + old_d * w, old_a * g)
    elif HAS_MOMENTUM:
        m = mu * m
    s = tl.where(d != 0, a * g + d * w, a * g)
    if HAS_MOMENTUM:
        m = m + c * s
        store_chunk(m_at, m.to(M), left, CHUNK)
        s = s + mu * m if NESTEROV else m
    new = (w - step * s).to(W)
    store_chunk(w_at, new, left, CHUNK)
    carried = tl.load(entry + 7).to(tl.pointer_type(tl.float64)) + start // CHUNK
    tl.store(carried, squares(tl.where(tl.arange(0, CHUNK) < left, new.to(COMPUTE), 0)))
