"""Tickets for the sums that the last program of a launch works out."""

import torch
from torch import Tensor

_COUNTERS: dict[tuple[torch.device, int], Tensor] = {}
_COUNT = 64


def counters_for(device: torch.device, count: int) -> Tensor:
    """Return zeros that every launch leaves as zeros; neither streams nor graphs share them.

    Args:
        device: where the kernel runs.
        count: how many, at most 64.

    Returns:
        (count,) int32.
    """
    is_cuda = device.type == "cuda"
    if is_cuda and torch.cuda.is_current_stream_capturing():  # a graph replays on any stream
        return torch.zeros(count, dtype=torch.int32, device=device)
    stream = torch.cuda.current_stream(device).cuda_stream if is_cuda else 0
    key = (device, stream)
    if key not in _COUNTERS:
        _COUNTERS[key] = torch.zeros(_COUNT, dtype=torch.int32, device=device)
    return _COUNTERS[key][:count]
