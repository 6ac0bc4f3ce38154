"""The host side of the LARS kernels: tables of tensors and chunks on the device, and counters."""

import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from mflag.kernels.counters import is_capturing, stream_of
from torch import Tensor

# A partial sum covers so many values: with the order of the sums, that fixes the bits.
CHUNK = 4096


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


_UPLOADS: OrderedDict[tuple[Any, ...], Tensor] = OrderedDict()
_MOST_UPLOADS = 64
_LOCK = threading.Lock()
_CAPTURED: list[Tensor] = []  # what a CUDA graph reads must outlive it


def _uploaded(
    device: torch.device, content: tuple[int, ...], values: Callable[[], Tensor]
) -> Tensor:
    """``values()`` on the device; what ``content`` names is uploaded once a stream.

    A graph that is being captured keeps what was uploaded before, else it copies from pinned
    memory at every replay; both live as long as the program.
    """
    key = (device, stream_of(device), content)
    with _LOCK:
        if is_capturing(device):
            return _kept_by_graph(device, content, values)
        if key in _UPLOADS:
            _UPLOADS.move_to_end(key)
            return _UPLOADS[key]
        host = values()
        if device.type == "cuda":
            # torch keeps pinned memory until the copy has been made.
            host = host.pin_memory().to(device, non_blocking=True)
        _UPLOADS[key] = host
        while len(_UPLOADS) > _MOST_UPLOADS:
            _UPLOADS.popitem(last=False)
        return host


def _kept_by_graph(
    device: torch.device, content: tuple[int, ...], values: Callable[[], Tensor]
) -> Tensor:
    before = [x for (d, _, c), x in _UPLOADS.items() if d == device and c == content]
    host = None if before else values().pin_memory()
    uploaded = before[0] if host is None else host.to(device, non_blocking=True)
    _CAPTURED.extend([uploaded] if host is None else [host, uploaded])
    return uploaded


def _chunk_counts(sizes: Sequence[int]) -> list[int]:
    """One chunk for an empty tensor too: it has a flag to set."""
    return [max(1, -(-size // CHUNK)) for size in sizes]


def tables_of(
    params: list[Tensor],
    grads: list[Tensor],
    buffers: list[Tensor],
    started: list[Tensor],
    carried: list[Tensor],
    is_plain: list[bool],
    rule: Rule,
) -> tuple[Tensor, Tensor, int, bool]:
    """The two tables, the number of chunks, and whether all addresses are multiples of 16."""
    device = params[0].device
    sizes = [w.numel() for w in params]
    counts = _chunk_counts(sizes)
    lists = [
        [x.data_ptr() for x in tensors] or [0] * len(params)
        for tensors in (params, grads, buffers, started, carried)
    ]
    rows: list[int] = list(struct.unpack("5q", struct.pack("5d", *rule[:5])))
    first = 0
    for *own, sums, size, count, plain in zip(*lists, sizes, counts, is_plain, strict=True):
        rows += [*own, size, first, plain, sums]
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
