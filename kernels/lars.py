"""LARS over all tensors of a list: two launches, norms and update.

    u = a·g + d·w,  m ← μ·m + c·u,  w ← w − step·(m, or u + μ·m with nesterov, or u without m)

A program takes one chunk of one tensor; two tables on the device say which, and where it lies.
The first launch writes each chunk's sums of squares to fixed places; the last chunk of a tensor to
finish adds them in a fixed order in float64 and works out a, d, c and step. Learning rate, gradient
scale and the flag of non-finite gradients are read on the device.
"""

import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from mflag.kernels.launch_table import lars_row
from torch import Tensor

# A partial sum covers so many values: with the order of the sums, that fixes the bits.
CHUNK = 4096
LANES = tl.constexpr(256)
SEPARATE, DECAYED, MOMENTUM = (tl.constexpr(code) for code in range(3))
# The table: five numbers as float64, then one row a tensor.
HEADER, WIDTH = tl.constexpr(5), tl.constexpr(7)
DTYPES = {
    torch.float32: tl.float32,
    torch.float64: tl.float64,
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
}


class Rule(NamedTuple):
    """The formula as the kernels take it; ``norm`` is 0 separate, 1 decayed, 2 momentum."""

    momentum: float
    dampening: float
    weight_decay: float
    trust_coefficient: float
    eps: float
    nesterov: bool
    norm: int
    zero_is_plain: bool
    trust_clip: bool
    clip_zero_norm: bool
    lr_in_momentum: bool
    maximize: bool


@triton.jit
def _number(table, index):
    return tl.load(table + index).to(tl.float64, bitcast=True)


@triton.jit
def _place(table, chunk_rows, chunk, CHUNK: tl.constexpr):
    """The row of a chunk's tensor in the table, where the chunk starts, and the values left."""
    row = tl.load(chunk_rows + chunk)
    entry = table + HEADER + row * WIDTH
    start = (chunk - tl.load(entry + 5)) * CHUNK
    return row, entry, start, tl.load(entry + 4) - start


@triton.jit
def _pointer(address, start, TYPE: tl.constexpr, IS_ALIGNED: tl.constexpr):
    pointer = address.to(tl.pointer_type(TYPE))
    if IS_ALIGNED:
        pointer = tl.multiple_of(pointer, 16)
    return pointer + start


@triton.jit
def _load(pointer, left, COMPUTE: tl.constexpr, CHUNK: tl.constexpr):
    """A chunk; without a mask where it is whole, so that loads take 16 bytes."""
    i = tl.arange(0, CHUNK)
    if left >= CHUNK:
        value = tl.load(pointer + i)
    else:
        value = tl.load(pointer + i, i < left, 0)
    return value.to(COMPUTE)


@triton.jit
def _store(pointer, value, left, CHUNK: tl.constexpr):
    i = tl.arange(0, CHUNK)
    if left >= CHUNK:
        tl.store(pointer + i, value)
    else:
        tl.store(pointer + i, value, i < left)


@triton.jit
def _grad_factor(grad_scale, MAXIMIZE: tl.constexpr):
    factor = tl.full((), 1, tl.float64)
    if grad_scale is not None:
        factor = factor / tl.load(grad_scale).to(tl.float64)
    return -factor if MAXIMIZE else factor


@triton.jit
def _total(partial, first, count):
    lane = tl.arange(0, LANES)
    total = tl.zeros((LANES,), tl.float64)
    for start in range(0, count, LANES):
        place = partial + 2 * (first + start + lane)
        total += tl.load(place, start + lane < count, 0, cache_modifier=".cg")
    return tl.sum(total, 0)


@triton.jit
def _trust_ratio(
    table, sum_w, sum_x, lr,
    NORM: tl.constexpr, ZERO_IS_PLAIN: tl.constexpr,
    TRUST_CLIP: tl.constexpr, CLIP_ZERO_NORM: tl.constexpr,
):  # fmt: skip
    """q, 1 where a norm is zero by the variant's own test; and that test."""
    w_norm, x_norm = tl.sqrt(sum_w), tl.sqrt(sum_x)
    divisor = x_norm + _number(table, 4)
    if NORM == SEPARATE:
        divisor += _number(table, 2) * w_norm
    if ZERO_IS_PLAIN:
        is_zero = (w_norm == 0) | (x_norm == 0)
    else:
        is_zero = ((w_norm > 0) & (x_norm > 0)) == 0  # so also for NaN
    q = _number(table, 3) * w_norm / divisor
    q = tl.where(is_zero, 1, q)
    if TRUST_CLIP:
        clipped = q / lr
        clipped = tl.where(clipped > 1, 1, clipped)  # NaN stays
        q = clipped if CLIP_ZERO_NORM and not ZERO_IS_PLAIN else tl.where(is_zero, q, clipped)
    return q, is_zero


@triton.jit
def norms_kernel(
    table, chunk_rows, lr, grad_scale, found_inf, partial, counters, coefficients,
    W: tl.constexpr, G: tl.constexpr, M: tl.constexpr, COMPUTE: tl.constexpr,
    NORM: tl.constexpr, ZERO_IS_PLAIN: tl.constexpr, TRUST_CLIP: tl.constexpr,
    CLIP_ZERO_NORM: tl.constexpr, LR_IN_MOMENTUM: tl.constexpr, MAXIMIZE: tl.constexpr,
    HAS_STARTED: tl.constexpr, IS_ALIGNED: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Sums of squares of one chunk; the last chunk of a tensor works out its coefficients."""
    if found_inf is not None:
        if tl.load(found_inf) != 0:
            return
    chunk = tl.program_id(0)
    row, entry, start, left = _place(table, chunk_rows, chunk, CHUNK)
    is_plain = tl.load(entry + 6) != 0
    factor = _grad_factor(grad_scale, MAXIMIZE)
    decay = _number(table, 2)
    if not is_plain:
        w = _load(_pointer(tl.load(entry), start, W, IS_ALIGNED), left, COMPUTE, CHUNK)
        x = _load(_pointer(tl.load(entry + 1), start, G, IS_ALIGNED), left, COMPUTE, CHUNK)
        x = x * factor.to(COMPUTE)
        if NORM != SEPARATE:
            x = tl.where(decay != 0, x + decay.to(COMPUTE) * w, x)
        if NORM == MOMENTUM:
            m = _load(_pointer(tl.load(entry + 2), start, M, IS_ALIGNED), left, COMPUTE, CHUNK)
            mu = _number(table, 0)
            x = mu.to(COMPUTE) * m + (1 - mu).to(COMPUTE) * x
        tl.store(partial + 2 * chunk, tl.sum(w * w, 0).to(tl.float64))
        tl.store(partial + 2 * chunk + 1, tl.sum(x * x, 0).to(tl.float64))

    tl.debug_barrier()
    count = tl.maximum(tl.cdiv(tl.load(entry + 4), CHUNK), 1)
    ticket = tl.atomic_add(counters + row, 1, sem="acq_rel", scope="gpu")
    if ticket == count - 1:
        tl.store(counters + row, 0)
        rate = tl.load(lr).to(tl.float64)
        q = tl.full((), 1, tl.float64)
        if not is_plain:
            first = tl.load(entry + 5)
            q, is_zero = _trust_ratio(
                table, _total(partial, first, count), _total(partial + 1, first, count), rate,
                NORM, ZERO_IS_PLAIN, TRUST_CLIP, CLIP_ZERO_NORM,
            )  # fmt: skip
            if ZERO_IS_PLAIN and (NORM != MOMENTUM):
                decay = tl.where(is_zero, 0, decay)
        else:
            decay = decay * 0
        a, d, c, step = factor, decay, tl.full((), 1, tl.float64), rate
        if NORM == MOMENTUM:
            c, step = 1 - _number(table, 0), rate * q
        else:
            if LR_IN_MOMENTUM:
                q, step = q * rate, tl.full((), 1, tl.float64)
            a, d = q * factor, q * decay
        if HAS_STARTED:
            flag = tl.load(entry + 3).to(tl.pointer_type(tl.float32))
            c = tl.where(tl.load(flag) != 0, (1 - _number(table, 1)) * c, c)
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
    row, entry, start, left = _place(table, chunk_rows, chunk, CHUNK)
    own = coefficients + 4 * row
    a, d = tl.load(own).to(COMPUTE), tl.load(own + 1).to(COMPUTE)
    c, step = tl.load(own + 2).to(COMPUTE), tl.load(own + 3).to(COMPUTE)
    w_at = _pointer(tl.load(entry), start, W, IS_ALIGNED)
    w = _load(w_at, left, COMPUTE, CHUNK)
    s = a * _load(_pointer(tl.load(entry + 1), start, G, IS_ALIGNED), left, COMPUTE, CHUNK)
    s = tl.where(d != 0, s + d * w, s)  # without decay a non-finite weight does not spread
    if HAS_MOMENTUM:
        mu = _number(table, 0).to(COMPUTE)
        m_at = _pointer(tl.load(entry + 2), start, M, IS_ALIGNED)
        m = mu * _load(m_at, left, COMPUTE, CHUNK) + c * s
        _store(m_at, m.to(M), left, CHUNK)
        s = s + mu * m if NESTEROV else m
    _store(w_at, (w - step * s).to(W), left, CHUNK)


_COUNTERS: dict[tuple[torch.device, int], Tensor] = {}
_UPLOADS: OrderedDict[tuple[Any, ...], Tensor] = OrderedDict()
_MOST_UPLOADS = 64
_CAPTURED: list[Tensor] = []  # what a CUDA graph reads must outlive it


def _stream(device: torch.device) -> int:
    return torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0


def _is_capturing(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def _counters_for(device: torch.device, count: int) -> Tensor:
    """Zeros that every launch leaves as zeros; two streams do not share them, nor two graphs."""
    if _is_capturing(device):
        return torch.zeros(count, dtype=torch.int32, device=device)
    key = (device, _stream(device))
    if key not in _COUNTERS or _COUNTERS[key].numel() < count:
        _COUNTERS[key] = torch.zeros(max(count, 256), dtype=torch.int32, device=device)
    return _COUNTERS[key]


def _uploaded(
    device: torch.device, content: tuple[int, ...], values: Callable[[], Tensor]
) -> Tensor:
    """``values()`` on the device; what ``content`` names is uploaded once a stream.

    A graph that is being captured keeps what was uploaded before, else it copies from pinned
    memory at every replay; both live as long as the program.
    """
    key = (device, _stream(device), content)
    if key in _UPLOADS and not _is_capturing(device):
        _UPLOADS.move_to_end(key)
        return _UPLOADS[key]
    if _is_capturing(device):
        before = [x for (d, _, c), x in _UPLOADS.items() if d == device and c == content]
        host = None if before else values().pin_memory()
        uploaded = before[0] if host is None else host.to(device, non_blocking=True)
        _CAPTURED.extend([uploaded] if host is None else [host, uploaded])
        return uploaded
    host = values()
    if device.type == "cuda":
        # torch keeps pinned memory until the copy has been made.
        host = host.pin_memory().to(device, non_blocking=True)
    _UPLOADS[key] = host
    while len(_UPLOADS) > _MOST_UPLOADS:
        _UPLOADS.popitem(last=False)
    return host


def _chunk_counts(sizes: Sequence[int]) -> list[int]:
    """One chunk for an empty tensor too: it has a flag to set."""
    return [max(1, -(-size // CHUNK)) for size in sizes]


def _tables(
    params: list[Tensor],
    grads: list[Tensor],
    buffers: list[Tensor],
    started: list[Tensor],
    is_plain: list[bool],
    rule: Rule,
) -> tuple[Tensor, Tensor, int, bool]:
    """The two tables, the number of chunks, and whether all addresses are multiples of 16."""
    device = params[0].device
    sizes = [w.numel() for w in params]
    counts = _chunk_counts(sizes)
    lists = [
        [x.data_ptr() for x in tensors] or [0] * len(params)
        for tensors in (params, grads, buffers, started)
    ]
    rows: list[int] = list(struct.unpack("5q", struct.pack("5d", *rule[:5])))
    first = 0
    for *addresses, size, count, plain in zip(*lists, sizes, counts, is_plain, strict=True):
        rows += [*addresses, size, first, plain]
        first += count
    table = _uploaded(device, tuple(rows), lambda: torch.tensor(rows))
    chunk_rows = _uploaded(
        device,
        tuple(counts),
        lambda: torch.repeat_interleave(
            torch.arange(len(counts), dtype=torch.int32), torch.tensor(counts)
        ),
    )
    is_aligned = all(address % 16 == 0 for addresses in lists[:3] for address in addresses)
    return table, chunk_rows, first, is_aligned


def lars_step(
    params: list[Tensor],
    grads: list[Tensor],
    buffers: list[Tensor],
    started: list[Tensor],
    scalars: tuple[Tensor, Tensor | None, Tensor | None],
    is_plain: list[bool],
    rule: Rule,
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
    """
    device = params[0].device
    table, chunk_rows, chunks, is_aligned = _tables(params, grads, buffers, started, is_plain, rule)
    types = [DTYPES[x[0].dtype] if x else tl.float32 for x in (params, grads, buffers)]
    compute = tl.float64 if tl.float64 in types[:2] else tl.float32
    partial = torch.empty(2 * chunks, dtype=torch.float64, device=device)
    coefficients = torch.empty(4 * len(params), dtype=torch.float64, device=device)
    shared: dict[str, Any] = dict(zip(("W", "G", "M"), types, strict=True))
    shared |= {"COMPUTE": compute, "IS_ALIGNED": is_aligned, "CHUNK": CHUNK}
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else (8, 0)
    launch = lars_row(capability[0] * 10 + capability[1])
    lr, grad_scale, found_inf = scalars
    with torch.cuda.device_of(params[0]):
        norms_kernel[(chunks,)](
            table, chunk_rows, lr, grad_scale, found_inf, partial,
            _counters_for(device, len(params)), coefficients,
            NORM=rule.norm, ZERO_IS_PLAIN=rule.zero_is_plain, TRUST_CLIP=rule.trust_clip,
            CLIP_ZERO_NORM=rule.clip_zero_norm, LR_IN_MOMENTUM=rule.lr_in_momentum,
            MAXIMIZE=rule.maximize, HAS_STARTED=bool(started),
            num_warps=launch.norms_warps, **shared,
        )  # fmt: skip
        update_kernel[(chunks,)](
            table, chunk_rows, found_inf, coefficients,
            HAS_MOMENTUM=bool(buffers), NESTEROV=rule.nesterov,
            num_warps=launch.update_warps, **shared,
        )  # fmt: skip
