"""All images of a run held where it computes; a batch is a gather."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from mflag.data.feeds.batch import Batch, BatchReader
from mflag.runtime.progress import progress

_PART_BYTES = 32 << 20  # read and copied at a time
_WORD = 8  # bytes moved at once by the gather


class ResidentFeed:
    """Gathers batches from held images by index; the host copies nothing but the index."""

    def __init__(self, reader: BatchReader, steps: range, images: Tensor) -> None:
        """Keep the images.

        Args:
            reader: gives the order.
            steps: whose batches to yield.
            images: of ``load_images``.
        """
        self._reader, self._steps = reader, steps
        self._images: Tensor | None = images

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches in order, each in memory of its own."""
        for step in self._steps:
            if self._images is None:  # closed
                return
            positions = self._reader.positions(step)
            index = torch.from_numpy(positions)
            if self._reader.pins:
                index = index.pin_memory().to(self._reader.device, non_blocking=True)
            rows = torch.from_numpy(self._reader.rows[positions])
            yield Batch(gather_images(self._images, index), rows)

    def close(self) -> None:
        """Let the images go."""
        self._images = None


def gather_images(images: Tensor, index: Tensor) -> Tensor:
    """Return (B, 1, S, S), the rows ``index``, (B,) int64, of (n, 1, S, S) uint8, same device.

    Bytes are moved by eights where an image has a multiple of that.
    """
    flat = images.view(len(images), -1)
    if flat.shape[1] % _WORD == 0:
        flat = flat.view(torch.int64)
    return flat.index_select(0, index).view(torch.uint8).view(len(index), *images.shape[1:])


def load_images(reader: BatchReader) -> Tensor:
    """Read all images of a reader, from the file's begin to its end, onto its device.

    Returns:
        (n, 1, S, S) uint8, in the order of ``reader.rows``.

    Raises:
        InputError: the file was cut short, or the disk fails.
        torch.OutOfMemoryError: the GPU has less memory than it said.
        MemoryError: the CPU has.
    """
    count = len(reader.rows)
    shape = (count, *reader.shape)
    if reader.device.type == "cpu":
        images = torch.from_numpy(np.empty(shape, np.uint8))  # torch has no MemoryError of its own
    else:
        images = torch.empty(shape, dtype=torch.uint8, device=reader.device)
    part = min(max(_PART_BYTES // images[0].nbytes, 1), count)
    read = _read_through_pinned if reader.pins else _read_in_place
    with progress("load", "images", count) as advance:
        read(reader, images, part, advance)
    return images


def _read_in_place(
    reader: BatchReader, images: Tensor, part: int, advance: Callable[[int], None]
) -> None:
    for begin in range(0, len(images), part):
        target = images[begin : begin + part]
        reader.read_into(reader.rows[begin : begin + part], target)
        advance(len(target))


def _read_through_pinned(
    reader: BatchReader, images: Tensor, part: int, advance: Callable[[int], None]
) -> None:
    """One part is copied while the next one is read."""
    shape = (part, *images.shape[1:])
    pinned = [torch.empty(shape, dtype=torch.uint8, pin_memory=True) for _ in range(2)]
    copied = [torch.cuda.Event(), torch.cuda.Event()]  # type: ignore[no-untyped-call]
    for number, begin in enumerate(range(0, len(images), part)):
        turn, target = number % 2, images[begin : begin + part]
        copied[turn].synchronize()
        source = pinned[turn][: len(target)]
        reader.read_into(reader.rows[begin : begin + part], source)
        target.copy_(source, non_blocking=True)
        copied[turn].record(torch.cuda.current_stream(images.device))
        advance(len(target))
