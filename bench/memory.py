"""What a call allocates at most, beyond what is there before and after it."""

import os
from collections.abc import Callable

import torch

# Kineto complains on stderr where there is no GPU.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")


def peak_memory(call: Callable[[], object], device: str) -> int:
    """Return bytes of tensors at the peak of one call, its results included, after another one."""
    call()
    return allocated_at_peak(call, device)


def allocated_at_peak(call: Callable[[], object], device: str) -> int:
    """Return bytes of tensors at the peak of this very call, its results included.

    CUDA: the caching allocator's own peak. CPU: the running sum of every allocation that torch's
    profiler sees: torch's tensors and every matrix of our native kernels, which they take from
    torch. Not the buffers inside the BLAS library, nor our kernels' sums (a few values a row and
    column) and the images that a thread of the augmentation works on.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        result = call()
        del result
    events = profile.profiler.kineto_results.events()  # type: ignore[union-attr]
    sizes = sorted(
        (e.start_ns(), i, e.nbytes()) for i, e in enumerate(events) if e.name() == "[memory]"
    )
    now = peak = 0
    for _, _, size in sizes:
        now += size
        peak = max(peak, now)
    return peak
