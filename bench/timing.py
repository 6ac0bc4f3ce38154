"""Side-by-side timing: everything in turns, so that a busy moment hits all alike."""

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch

Calls = Mapping[str, Callable[[], object]]
EVENTS = 100  # timings a call on a GPU


def time_in_turns(calls: Calls, device: str, seconds: float) -> dict[str, np.ndarray]:
    """Time several calls alternately, by the clock.

    Args:
        calls: by name; each is called as it is.
        device: ``cuda`` waits for the GPU around each measurement.
        seconds: about how long all of it may take; slow calls are still measured five times.

    Returns:
        By name: (rounds,) float64 milliseconds a call; 5 to 15 rounds, of several calls when short.
    """
    once = {}
    for name, call in calls.items():
        call()
        once[name] = max(_measure(call, 1, device), 1e-4)
    rounds = min(15, max(5, int(seconds * 1e3 / sum(once.values()))))
    share = seconds * 1e3 / len(calls) / rounds
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(_measure(call, max(1, int(share / once[name])), device))
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


def time_by_events(calls: Calls, flush: bool, seconds: float) -> dict[str, np.ndarray]:
    """Time several calls alternately by CUDA events.

    Args:
        calls: by name.
        flush: write over the L2 cache before each; the GPU is then busy while the host prepares
            the call, so that the figure is the kernels' alone. Without, the cache is warm and the
            host's time counts, as it does for a user.
        seconds: about how long all of it may take.

    Returns:
        By name: (rounds,) float64 milliseconds a call; 100 rounds, fewer (10 at least) when slow.
    """
    size = 4 * torch.cuda.get_device_properties(0).L2_cache_size
    over = torch.empty(max(size, 1 << 28), dtype=torch.uint8, device="cuda") if flush else None
    once = 0.0
    for call in calls.values():
        call()
        call()
        once += _by_event(call, over)
    rounds = min(EVENTS, max(10, int(seconds * 1e3 / max(once, 1e-3))))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(_by_event(call, over))
    return {name: np.array(values) for name, values in times.items()}


def _by_event(call: Callable[[], object], over: torch.Tensor | None) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    if over is not None:
        over.zero_()
    begin.record()
    call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def capture(call: Callable[[], object]) -> Callable[[], object]:
    """Return the replay of ``call`` as a CUDA graph.

    Raises:
        RuntimeError: it cannot be captured.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = call()  # the results live as long as the graph

    def replay() -> object:
        graph.replay()
        return kept

    return replay
