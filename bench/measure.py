"""Measure one workload: time, memory, accuracy, repeatability; a row a backend and peer."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from bench.accuracy import distinct_bits, relative_errors
from bench.memory import peak_memory
from bench.rates import against_bound
from bench.timing import Calls, capture, time_by_events, time_in_turns
from bench.workloads.workload import Call, Workload

RUNS = {"cpu": 5, "cuda": 100}  # of the same input, for the same bits
Times = dict[str, np.ndarray]


def measure(
    work: Workload, device: str, seconds: float, rates: dict[str, float]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a workload; what cannot be captured is added to ``work.skipped``."""
    # Where no peer is installed, ours are compared with the plain formula.
    peers = work.peers or {name: call for name, call in work.ours.items() if name == "reference"}
    if not work.ours or not peers:
        return
    calls = work.ours | peers
    forwards = {name: call.forward for name, call in calls.items() if call.forward is not None}
    runs = {name: call.run for name, call in calls.items()}
    times = _variants(work, runs, device, seconds)
    forward_times = _variants(work, forwards, device, seconds / 3) if forwards else {}
    exact = work.exact() if work.exact is not None else None
    figures = {
        name: _figures(name, call, work, times, forward_times, device, rates)
        | _accuracy(call, exact, RUNS[device] if name in work.ours else 0)
        for name, call in calls.items()
    }
    key = "warm" if device == "cuda" else "clock"
    for backend in work.ours:
        for peer in peers:
            ratios = {
                f"ratio{_suffix(variant)}": float(np.median(both[peer] / both[backend]))
                for variant, both in times.items()
                if peer in both and backend in both
            }
            yield {
                "op": work.op,
                "backend": backend,
                "shape": work.shape,
                "dtype": work.dtype,
                "peer": peer,
                "median_ms": float(np.median(times[key][backend])),
                "peer_median_ms": float(np.median(times[key][peer])),
                **ratios,
                "timings": len(times[key][backend]),
                **figures[backend],
                **{f"peer_{name}": value for name, value in figures[peer].items()},
                "unit_bytes": work.unit_bytes,
                "configuration": work.configuration.get(backend),
            }


def _suffix(variant: str) -> str:
    return "" if variant in ("clock", "warm") else f"_{variant}"


def _variants(work: Workload, calls: Calls, device: str, seconds: float) -> dict[str, Times]:
    """CPU: by the clock. CUDA: by events, L2 warm and flushed, called and replayed as a graph."""
    if device == "cpu":
        return {"clock": time_in_turns(calls, device, seconds)}
    graphs: dict[str, Callable[[], object]] = {}
    for name, call in calls.items():
        try:
            graphs[name] = capture(call)
        except Exception as error:  # RuntimeError or what an optimizer raises: no graph of it
            work.skipped[f"{name}, graph"] = f"{type(error).__name__}: {error}".split("\n")[0][:300]
    return {
        "warm": time_by_events(calls, False, seconds),
        "flushed": time_by_events(calls, True, seconds),
        "graph": time_by_events(graphs, False, seconds),
        "graph_flushed": time_by_events(graphs, True, seconds),
    }


def _figures(
    name: str,
    call: Call,
    work: Workload,
    times: dict[str, Times],
    forward_times: dict[str, Times],
    device: str,
    rates: dict[str, float],
) -> dict[str, Any]:
    """What is said of ours and of a peer alike."""
    found: dict[str, Any] = {}
    for prefix, all_times in (("", times), ("forward_", forward_times)):
        for variant, both in all_times.items():
            if name in both:
                end = _suffix(variant)
                found[f"{prefix}spread{end}"] = [
                    float(q) for q in np.percentile(both[name], (10, 90))
                ]
                found[f"{prefix}p95{end}_ms"] = float(np.percentile(both[name], 95))
                if prefix or end:
                    found[f"{prefix}median{end}_ms"] = float(np.median(both[name]))
    # Where a graph can be had it is the device's own time; the cache is cold, as between layers.
    for variant in ("graph_flushed", "flushed", "clock"):
        if name in times.get(variant, {}):
            median = float(np.median(times[variant][name]))
            found |= against_bound(median, work.bytes_moved, work.flops, rates)
            break
    found["bytes_moved"], found["flops"] = work.bytes_moved, work.flops
    found["peak_memory_bytes"] = peak_memory(call.run, device)
    return found


def _accuracy(call: Call, exact: Sequence[Tensor] | None, runs: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if call.result is not None and exact is not None and call.same_formula:
        found |= relative_errors(call.result(), exact)
    if call.result is not None and runs:
        found["repeated"] = distinct_bits(call.result, runs)
    return found
