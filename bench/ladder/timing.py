"""Rungs timed in turns: a busy moment of the machine hits all alike."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from bench.ladder.rungs import Loop
from bench.memory import allocated_at_peak

# Kineto complains on stderr where there is no GPU.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")


@dataclass
class Timed:
    """What was seen of one loop.

    Attributes:
        peak_memory_bytes: tensors at the peak of the first step, beyond what was there before it:
            activations, gradients and the optimizer's state.
        first_step_s: the first step, with what it compiles and sets up.
        step_ms: of each turn, milliseconds a step.
        waits: of each turn, the share that a batch was waited for.
    """

    peak_memory_bytes: int = 0
    first_step_s: float = 0.0
    step_ms: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    steps: int = 0

    def figures(self, batch_size: int) -> dict[str, Any]:
        """Return medians and spread for the JSON."""
        low, high = np.percentile(self.step_ms, (10, 90))
        median = float(np.median(self.step_ms))
        return {
            "images_per_second": batch_size / median * 1e3,
            "step_ms": median,
            "spread_ms": [float(low), float(high)],
            "turns": len(self.step_ms),
            "steps": self.steps,
            "data_wait": float(np.median(self.waits)),
            "first_step_s": self.first_step_s,
            "peak_memory_bytes": self.peak_memory_bytes,
        }


def warm_up(loop: Loop, device: str) -> Timed:
    """Take the first step of a loop and look at its memory; on a GPU take ten more."""
    timed, begin = Timed(), time.perf_counter()
    timed.peak_memory_bytes = allocated_at_peak(loop.step, device)
    _wait_for(device)
    timed.first_step_s = time.perf_counter() - begin
    for _ in range(10 if device == "cuda" else 0):
        loop.step()
    return timed


def take_turns(
    loops: Mapping[str, Loop], timed: Mapping[str, Timed], device: str, *, turns: int, turn_s: float
) -> None:
    """Time every loop ``turns`` times, each time for about ``turn_s`` seconds, at least a step.

    On a GPU the batches that the feed read ahead while others had their turn are dropped first. On
    a CPU they are kept: a feed that is ahead starts one batch for each one that is taken, on the
    same cores, inside of the turn.
    """
    counts: dict[str, int] = {}
    for _ in range(turns):
        for name, loop in loops.items():
            if device == "cuda":
                loop.drain()
            count = counts.get(name, 1)
            seconds, waited = _time(loop, count, device)
            if name not in counts:  # the first turn finds out how long a step takes
                counts[name] = max(1, min(200, int(turn_s / seconds)))
            timed[name].step_ms.append(seconds / count * 1e3)
            timed[name].waits.append(waited / seconds)
            timed[name].steps += count


def _time(loop: Loop, count: int, device: str) -> tuple[float, float]:
    _wait_for(device)
    waited, begin = 0.0, time.perf_counter()
    for _ in range(count):
        waited += loop.step()
    _wait_for(device)
    return time.perf_counter() - begin, waited


def _wait_for(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def paired_ratio(slow: Timed, fast: Timed) -> float:
    """Return the median over the turns of how many times longer a step of ``slow`` takes."""
    return float(np.median(np.array(slow.step_ms) / np.array(fast.step_ms)))
