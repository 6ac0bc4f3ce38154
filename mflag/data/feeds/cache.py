"""Feed ``cache``: the memory map, read ahead by one thread."""

import queue
import threading
from collections.abc import Iterator

from mflag.config.feed import FeedConfig
from mflag.data.feeds.batch import Batch, BatchReader


class CacheFeed:
    """Reads the next batches while the current one is computed."""

    def __init__(self, reader: BatchReader, steps: range, config: FeedConfig) -> None:
        """Start the reading thread."""
        self._reader = reader
        self._steps = steps
        self._ready: queue.Queue[Batch | BaseException | None] = queue.Queue(config.prefetch)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read_ahead, name="mflag-feed", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches in order; an error of the reader is raised here."""
        while (item := self._ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """Stop the thread."""
        self._closed.set()
        while self._thread.is_alive():
            try:
                self._ready.get(timeout=0.05)  # make room, in case the thread waits to put
            except queue.Empty:
                continue
        self._thread.join()

    def _read_ahead(self) -> None:
        try:
            for step in self._steps:
                if self._closed.is_set():
                    return
                batch = self._reader.read(step)
                self._put(batch.pinned() if self._reader.pins else batch)
            self._put(None)
        except BaseException as error:  # handed to the consumer, which raises it
            self._put(error)

    def _put(self, item: Batch | BaseException | None) -> None:
        while not self._closed.is_set():
            try:
                return self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
