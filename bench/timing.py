"""Side-by-side timing: everything in turns, so that a busy moment hits all alike."""

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch


def time_in_turns(
    calls: Mapping[str, Callable[[], object]], device: str, seconds: float, rounds: int = 15
) -> dict[str, np.ndarray]:
    """Time several calls alternately.

    Args:
        calls: by name; each is called as it is.
        device: ``cuda`` waits for the GPU around each measurement.
        seconds: about how long all of it may take.
        rounds: measurements a call; more when the calls are short.

    Returns:
        By name: (rounds,) float64, milliseconds a call.
    """
    repeats = {}
    for name, call in calls.items():
        call()
        once = max(_measure(call, 1, device), 1e-4)
        share = seconds * 1e3 / len(calls)
        rounds_here = min(rounds, max(3, int(share / once)))
        repeats[name] = max(1, int(share / rounds_here / once))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(_measure(call, repeats[name], device))
    return {name: np.array(values) for name, values in times.items()}


def _measure(call: Callable[[], object], repeats: int, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) * 1e3 / repeats


def peak_memory(call: Callable[[], object], device: str) -> int | None:
    """Return the bytes that a call allocates at most on the GPU; None on the CPU."""
    if device != "cuda":
        return None
    call()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
