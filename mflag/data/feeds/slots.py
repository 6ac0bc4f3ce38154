"""Memory of a batch on its way from the file to the device, used again and again."""

from typing import Any, Protocol

import torch
from torch import Tensor


class Slot(Protocol):
    """Room for one batch. In turns: the reader fills and sends, the consumer receives, is done."""

    def memory(self) -> Tensor:
        """Wait until it may be overwritten; return (B, 1, S, S) uint8 on the CPU, to be filled."""
        ...

    def send(self) -> None:
        """Start the copy to the device; the memory belongs to the copy until ``memory``."""
        ...

    def receive(self) -> Tensor:
        """Return the images on the device, for work queued on its current stream from now on."""
        ...

    def done(self) -> None:
        """Say that all work on the images is queued; they may be overwritten after it."""
        ...


class HostSlot:
    """Memory of the CPU, where it is used as well."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Take the memory."""
        self._images = torch.empty(shape, dtype=torch.uint8)

    def memory(self) -> Tensor:
        """Return the memory at once: what used it on the CPU is over."""
        return self._images

    def send(self) -> None:
        """Nothing to copy."""

    def receive(self) -> Tensor:
        """Return the same memory."""
        return self._images

    def done(self) -> None:
        """Work on the CPU is over when it returns."""


class Copies(Protocol):
    """A stream of copies beside the stream that computes; ``Any`` stands for its events."""

    def memory(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Return pinned memory of the CPU and memory of the device, both uint8."""
        ...

    def copy(self, source: Tensor, target: Tensor, after: Any | None) -> Any:
        """Queue a copy after an event of the computing stream; return the event of its end."""
        ...

    def await_here(self, event: Any) -> None:
        """Let work that is queued from now on, on the computing stream, wait for a copy."""
        ...

    def mark_here(self) -> Any:
        """Return the event of all that is queued so far on the computing stream."""
        ...

    def finish(self) -> None:
        """Wait on the CPU until no copy is under way."""
        ...


class DeviceSlot:
    """Pinned memory and its copy on the device, with the events that keep their users apart.

    Two hazards, one event each: the reader must not refill the pinned memory before the copy has
    left it (``_copied``, awaited on the CPU), and the copy must not overwrite the device's memory
    before the step has read it (``_used``, awaited on the copies' stream).
    """

    def __init__(self, shape: tuple[int, ...], copies: Copies) -> None:
        """Take the memory."""
        self._copies = copies
        self._pinned, self._images = copies.memory(shape)
        self._copied: Any | None = None
        self._used: Any | None = None

    def memory(self) -> Tensor:
        """Wait for the last copy out of the pinned memory, then return it."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._pinned

    def send(self) -> None:
        """Queue the copy behind the last step that read the device's memory."""
        self._copied = self._copies.copy(self._pinned, self._images, self._used)

    def receive(self) -> Tensor:
        """Return the device's memory; the current stream waits for the copy, the CPU does not."""
        self._copies.await_here(self._copied)
        return self._images

    def done(self) -> None:
        """Mark the end of the step's work on the current stream."""
        self._used = self._copies.mark_here()


class CudaCopies:
    """Copies on a CUDA stream of their own."""

    def __init__(self, device: torch.device) -> None:
        """Make the stream."""
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def memory(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Take memory on the current stream; the copies wait for whoever had it before."""
        images = torch.empty(shape, dtype=torch.uint8, device=self._device)
        images.record_stream(self._stream)  # freed memory is not given away under a copy
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        return torch.empty(shape, dtype=torch.uint8, pin_memory=True), images

    def copy(self, source: Tensor, target: Tensor, after: Any | None) -> Any:
        """Queue a copy; the calling thread goes on."""
        with torch.cuda.stream(self._stream):
            if after is not None:
                self._stream.wait_event(after)
            target.copy_(source, non_blocking=True)
            return self._stream.record_event()

    def await_here(self, event: Any) -> None:
        """Let the current stream wait for a copy."""
        torch.cuda.current_stream(self._device).wait_event(event)

    def mark_here(self) -> Any:
        """Return the event of what the current stream holds."""
        return torch.cuda.current_stream(self._device).record_event()

    def finish(self) -> None:
        """Wait for the stream."""
        self._stream.synchronize()
