"""Feed ``dali``: the original PNG and JPEG files, decoded anew in every epoch."""

import importlib
import io
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from mflag.config.feed import FeedConfig
from mflag.data.encoded_image import EncodedImage, read_header
from mflag.data.feeds.batch import Batch, BatchReader
from mflag.data.images import Rejected
from mflag.data.original_files import OriginalFiles
from mflag.errors import InputError

_MEASURED = 3  # batches of the run itself, after the first, that tell how fast files are decoded
_DALI_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, MemoryError)
_READERS = 8  # threads that read files: they wait more than they work


def check_dali(config: FeedConfig) -> None:
    """Refuse a machine without DALI.

    Raises:
        InputError: DALI cannot be imported, or ``feed.workers`` is 0.
    """
    if config.workers < 1:
        raise InputError(f"feed.workers is {config.workers}; feed=dali decodes by 1 thread or more")
    try:
        importlib.import_module("nvidia.dali")
    except ImportError as error:
        raise InputError(
            f'feed=dali needs NVIDIA DALI ({error}); pip install "mflag[dali]", or use feed=cache'
        ) from error


@dataclass
class _Pending:
    """A batch that DALI has and has not returned.

    Attributes:
        rows: (B,) int64, manifest rows.
        special: images that Pillow decoded, (S, S) uint8, by place in the batch.
    """

    step: int
    rows: np.ndarray
    special: dict[int, np.ndarray] = field(default_factory=dict)


class DaliFeed:
    """Decodes the next batches while the current one is computed.

    Files whose pixels DALI would give otherwise than prepare (16 bits, palettes, CMYK, alpha) are
    decoded by Pillow. On a GPU the images stay there: the batch is DALI's own memory.
    """

    def __init__(self, reader: BatchReader, steps: range, config: FeedConfig) -> None:
        """Decode the first batches, say how fast that went, and start the thread.

        Raises:
            InputError: the original files are not there, or one of the first is broken.
        """
        self._reader, self._steps = reader, steps
        self._size = reader.prepared.image_size
        self._files = OriginalFiles(reader.prepared, config.root)
        self._pool = ThreadPoolExecutor(_READERS, "mflag-feed-file")
        self._pending: deque[_Pending] = deque()
        self._reading_error: BaseException | None = None
        self._threads = config.workers
        # lazily: without DALI the other feeds work
        self._dali = importlib.import_module("mflag.data.feeds.dali_pipeline")
        self._placeholder = _tiny_png()
        self._closed = threading.Event()
        self._ready: queue.Queue[tuple[Any, _Pending] | BaseException | None] = queue.Queue(
            config.prefetch
        )
        try:
            self._pipeline = self._build(self._encode, config.prefetch)
            self._first = self._measure()
        except BaseException:
            self._pool.shutdown(cancel_futures=True)
            raise
        self._thread = threading.Thread(target=self._read_ahead, name="mflag-feed", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches in order; a broken file is raised here."""
        while self._first:
            yield self._finish(*self._first.popleft())
        while (item := self._ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield self._finish(*item)

    def close(self) -> None:
        """Stop the threads."""
        self._closed.set()
        while self._thread.is_alive():
            try:
                self._ready.get(timeout=0.05)  # make room, in case the thread waits to put
            except queue.Empty:
                continue
        self._thread.join()
        self._first.clear()
        self._pool.shutdown(cancel_futures=True)
        self._pipeline = None

    def _build(self, source: Any, prefetch: int, batch_size: int | None = None) -> Any:
        return self._dali.build_pipeline(
            source,
            device=self._reader.device,
            batch_size=batch_size or self._reader.batch_size,
            size=self._size,
            threads=self._threads,
            prefetch=prefetch,
        )

    def _measure(self) -> deque[tuple[Any, _Pending]]:
        """Decode the first batches of the run, which are kept, and print the ceiling."""
        first: deque[tuple[Any, _Pending]] = deque()
        since, images = time.perf_counter(), 0
        for number in range(min(len(self._steps), 1 + _MEASURED)):
            first.append(self._next())
            if number == 0 and len(self._steps) > 1:  # threads and buffers had to be made
                since = time.perf_counter()
            else:
                images += len(first[-1][1].rows)
        if images and self._reader.is_first_rank:
            rate = images / max(time.perf_counter() - since, 1e-9)
            where = "GPU" if self._reader.device.type == "cuda" else "CPU"
            print(
                f"feed=dali: reads and decodes about {rate:.0f} images/s ({where}, "
                f"{self._threads} threads, measured on {images} images); no step can be faster",
                file=sys.stderr,
            )
        return first

    def _read_ahead(self) -> None:
        try:
            for _ in self._steps[1 + _MEASURED :]:
                if self._closed.is_set():
                    return
                self._put(self._next())
            self._put(None)
        except BaseException as error:  # handed to the consumer, which raises it
            self._put(error)

    def _put(self, item: tuple[Any, _Pending] | BaseException | None) -> None:
        while not self._closed.is_set():
            try:
                return self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def _encode(self) -> Iterator[Any]:
        """Yield what DALI takes, a step at a time; called while it decodes earlier ones."""
        for step in self._steps:
            try:
                batch = self._read(step)
            except BaseException as error:
                self._reading_error = error
                raise
            yield batch

    def _read(self, step: int) -> Any:
        """Read the files of a step, and note the batch as pending."""
        rows = self._reader.rows_of(step)
        pending = _Pending(step, rows)
        batch = self._dali.EncodedBatch([], [], [])
        for place, (content, header) in enumerate(self._pool.map(self._open, rows.tolist())):
            if isinstance(header, EncodedImage):
                batch.add(content, header.height, header.width, self._size)
            else:
                batch.add(self._placeholder, 1, 1, self._size)
                pending.special[place] = header
        self._pending.append(pending)
        return batch

    def _open(self, row: int) -> tuple[bytes, EncodedImage | np.ndarray]:
        """Read a file, and decode it here when DALI would decode it otherwise."""
        content = self._files.read(row)
        try:
            header = read_header(content)
        except Rejected as error:
            raise InputError(
                f"{self._files.path(row)} cannot be decoded ({error}); use feed=cache"
            ) from error
        return (content, header) if not header.special else (b"", self._files.decode(row))

    def _next(self) -> tuple[Any, _Pending]:
        try:
            (images,) = self._pipeline.run()
        except _DALI_ERRORS as error:
            if self._reading_error is not None:  # of ours, on its way through DALI
                raise self._reading_error from None
            raise self._explain(error) from error
        return images, self._pending.popleft()

    def _finish(self, images: Any, pending: _Pending) -> Batch:
        """Hand DALI's memory to torch, on the consumer's own stream, without a copy."""
        pixels = torch.from_dlpack(images.as_tensor())[..., 0]
        for place, image in pending.special.items():
            pixels[place].copy_(torch.from_numpy(image))
        return self._reader.batch(pixels, pending.rows)

    def _explain(self, error: Exception) -> InputError:
        """Find the file that DALI failed on: by Pillow, then by DALI one by one."""
        reason = _first_line(error)
        step = self._pending[0].step if self._pending else self._steps.start
        rows = [row for pending in self._pending for row in pending.rows.tolist()]
        for row in rows:
            try:
                self._files.read(row)
                self._files.decode(row)
            except InputError as found:
                return found
        for row in rows:
            if reason_alone := self._fails_alone(row):
                return InputError(
                    f"{self._files.path(row)} cannot be decoded by DALI ({reason_alone}), only by "
                    "Pillow; use feed=cache"
                )
        return InputError(f"DALI failed at step {step} ({reason}); use feed=cache")

    def _fails_alone(self, row: int) -> str:
        content, header = self._open(row)
        if not isinstance(header, EncodedImage):
            return ""
        batch = self._dali.EncodedBatch([], [], [])
        batch.add(content, header.height, header.width, self._size)
        try:
            self._build(lambda: iter([batch]), 1, 1).run()
        except _DALI_ERRORS as error:
            return _first_line(error)
        return ""


def _first_line(error: Exception) -> str:
    """What went wrong, without the trace of DALI's own calls."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    asserted = [line for line in lines if line.startswith(("[", "Assert", "Failed", "CUDA"))]
    return (asserted or lines or ["no reason given"])[0]


def _tiny_png() -> bytes:
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG")
    return file.getvalue()
