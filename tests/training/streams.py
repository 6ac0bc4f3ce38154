"""Streams that run as late as they are allowed to: a missing wait becomes wrong numbers."""

import threading
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor


class LateStream:
    """Work in order, none of it before somebody waits for it."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock, self._done, self._queued = lock, 0, 0
        self._work: deque[Callable[[], object]] = deque()

    def add(self, work: Callable[[], object]) -> "LateEvent":
        with self._lock:
            self._work.append(work)
            self._queued += 1
            return LateEvent(self, self._queued)

    def run_to(self, place: int) -> None:
        with self._lock:
            while self._done < place:
                self._done += 1
                self._work.popleft()()

    def mark(self) -> "LateEvent":
        return self.add(lambda: None)

    def run_all(self) -> None:
        self.run_to(self._queued)


class LateEvent:
    def __init__(self, stream: LateStream, place: int) -> None:
        self._stream, self._place = stream, place

    def synchronize(self) -> None:
        self._stream.run_to(self._place)


class LateCopies:
    """``Copies`` on two late streams; ``compute`` is the one that steps are queued on."""

    def __init__(self) -> None:
        lock = threading.RLock()
        self.compute, self.copies = LateStream(lock), LateStream(lock)

    def memory(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        return torch.empty(shape, dtype=torch.uint8), torch.empty(shape, dtype=torch.uint8)

    def copy(self, source: Tensor, target: Tensor, after: LateEvent | None) -> LateEvent:
        if after is not None:
            self.copies.add(after.synchronize)
        self.copies.add(lambda: target.copy_(source))
        return self.copies.mark()

    def await_here(self, event: LateEvent) -> None:
        self.compute.add(event.synchronize)

    def mark_here(self) -> LateEvent:
        return self.compute.mark()

    def finish(self) -> None:
        self.copies.run_all()
