"""Batches read ahead by one thread into memory that is used again and again."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from mflag.data.feeds.batch import Batch, BatchReader
from mflag.data.feeds.slots import Copies, CudaCopies, DeviceSlot, HostSlot, Slot


@dataclass(frozen=True)
class _Filled:
    slot: Slot
    rows: torch.Tensor


class StreamedFeed:
    """Reads the next batches, and copies them to the device, while the current one is computed.

    One slot is in the consumer's hands, one is being filled, ``prefetch`` are ready.
    """

    def __init__(
        self, reader: BatchReader, steps: range, prefetch: int, copies: Copies | None = None
    ) -> None:
        """Start the reading thread.

        Args:
            reader: gives rows and images.
            steps: whose batches to read.
            prefetch: batches ready beside the current one.
            copies: to the reader's device; None makes them, where it is a GPU.
        """
        self._reader, self._steps = reader, steps
        on_gpu = reader.device.type == "cuda"
        self._copies = CudaCopies(reader.device) if copies is None and on_gpu else copies
        self._ready: queue.SimpleQueue[_Filled | BaseException | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[Slot | None] = queue.SimpleQueue()
        for _ in range(min(prefetch + 2, len(steps))):
            self._free.put(self._slot((reader.batch_size, *reader.shape)))
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read_ahead, name="mflag-feed", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches in order; an error of the reader is raised here."""
        while (item := self._ready.get()) is not None:
            if isinstance(item, BaseException):
                self._ready.put(None)
                raise item
            yield Batch(item.slot.receive(), item.rows)
            item.slot.done()
            self._free.put(item.slot)
        self._ready.put(None)  # whoever asks again finds the end again

    def close(self) -> None:
        """Stop the thread and wait for the last copy."""
        self._closed.set()
        self._free.put(None)
        self._thread.join()
        if self._copies is not None:
            self._copies.finish()

    def _slot(self, shape: tuple[int, ...]) -> Slot:
        return HostSlot(shape) if self._copies is None else DeviceSlot(shape, self._copies)

    def _read_ahead(self) -> None:
        try:
            for step in self._steps:
                self._reader.announce(step)
                slot = self._free.get()
                if slot is None or self._closed.is_set():
                    break
                rows = self._reader.rows[self._reader.positions(step)]
                self._reader.read_into(rows, slot.memory())
                slot.send()
                self._ready.put(_Filled(slot, torch.from_numpy(rows)))
        except BaseException as error:  # handed to the consumer, which raises it
            self._ready.put(error)
        self._ready.put(None)
