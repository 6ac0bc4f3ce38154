"""Large pages of memory for what the CPU reads in every step."""

import torch
from torch import Tensor

from mflag.native import backends

_SMALLEST = 4 << 20  # bytes; a smaller tensor may hold no whole page of 2 MiB


def prefer_huge_pages(x: Tensor) -> None:
    """Ask the system for 2 MiB pages under a CPU tensor; its values and its address stay.

    Linux only, and only advice: with 4 KiB pages, streaming through 100 MB waits for address
    translation. Nothing happens to a small tensor, to one elsewhere, or without the native library.
    """
    if x.is_cpu and x.layout == torch.strided and x.nbytes >= _SMALLEST:
        if backends()["cpu"] is True and x.is_contiguous():
            torch.ops.mflag_native.prefer_huge_pages(x.detach())
