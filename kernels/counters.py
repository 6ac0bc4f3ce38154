"""Tickets for the sums that the last program of a launch works out."""

import torch
from torch import Tensor

_COUNTERS: dict[tuple[torch.device, int], Tensor] = {}


def stream_of(device: torch.device) -> int:
    """Return the handle of the stream in use on a GPU; 0 on the CPU."""
    return torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0


def is_capturing(device: torch.device) -> bool:
    """Whether a CUDA graph is being captured on the stream in use on ``device``."""
    if device.type != "cuda":
        return False
    with torch.cuda.device(device):
        return torch.cuda.is_current_stream_capturing()


def counters_for(device: torch.device, count: int) -> Tensor:
    """Return zeros that every launch leaves as zeros; neither streams nor graphs share them.

    Args:
        device: where the kernel runs.
        count: how many.

    Returns:
        (count,) int32.
    """
    if is_capturing(device):  # a graph replays on any stream
        return torch.zeros(count, dtype=torch.int32, device=device)
    key = (device, stream_of(device))
    if key not in _COUNTERS or _COUNTERS[key].numel() < count:
        _COUNTERS[key] = torch.zeros(max(count, 256), dtype=torch.int32, device=device)
    return _COUNTERS[key][:count]
