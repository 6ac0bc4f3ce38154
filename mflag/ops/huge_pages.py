"""Large pages of memory for what the CPU reads in every step."""

import torch
from torch import Tensor

from mflag.native import backends

_PAGE = 2 << 20  # bytes


def zeros_like_on_huge_pages(x: Tensor) -> Tensor:
    """Return zeros of the shape and strides of x, on 2 MiB pages where they can be had.

    Linux only, and only advice: with pages of 4 KiB, streaming through 100 MB waits for address
    translation. For a small tensor, on another device and without the native library these are
    ``torch.zeros_like``.
    """
    if _gains(x):
        return torch.ops.mflag_native.zeros_on_huge_pages(x.detach())
    return torch.zeros_like(x, memory_format=torch.preserve_format)


def _gains(x: Tensor) -> bool:
    if type(x) not in (Tensor, torch.nn.Parameter):  # a wrapper may have no memory of its own
        return False
    if not x.is_cpu or x.layout != torch.strided or x.nbytes < _PAGE:
        return False
    if backends()["cpu"] is not True:
        return False
    return x.is_contiguous() or (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last))
