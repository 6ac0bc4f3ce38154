"""What every feed yields, and how one batch is read from prepared data."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mflag.data.feeds.levels import average_boxes, box_average, source_shrink
from mflag.data.feeds.residency import Held
from mflag.data.image_file import ImageFile
from mflag.data.index_stream import IndexStream
from mflag.data.manifest import Prepared

_CPU = torch.device("cpu")
_PART = 16  # images averaged at a time: they stay in the processor's cache


@dataclass(frozen=True)
class Batch:
    """The studies of a step.

    Attributes:
        images: (B, 1, S, S) uint8, S the stored size or a box-averaged half, quarter, ... of it;
            on the CPU or on the device that the feed was opened for.
        rows: (B,) int64 on the CPU, rows of the manifest.
    """

    images: Tensor
    rows: Tensor


class Feed(Protocol):
    """An iterator of batches that holds memory, threads or processes until it is closed."""

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the steps asked for, in order.

        The images of a batch may be overwritten as soon as the next batch is asked for: work that
        was queued on the device's current stream by then still sees them.
        """
        ...

    def close(self) -> None:
        """Stop reading; may be called twice."""
        ...


class BatchReader:
    """Reads the batch of a step: a pure function, so any feed may read any step.

    Attributes:
        prepared: the studies.
        device: where training computes.
        is_first_rank: whether this process speaks for all.
        rows: (n,) int64, manifest rows in the order of which ``IndexStream`` gives places.
        shape: (1, S, S) of an image as it is handed out.
    """

    def __init__(
        self,
        prepared: Prepared,
        stream: IndexStream,
        image_size: int,
        *,
        device: torch.device = _CPU,
        rows: np.ndarray | None = None,
    ) -> None:
        """Keep what is needed to read.

        Args:
            prepared: the studies.
            stream: order of the rows.
            image_size: what training asks for; below half the stored size a box-averaged level is
                read.
            device: where training computes.
            rows: (n,) int64 manifest rows that the stream orders; None: the training split.
        """
        self.prepared = prepared
        self.device = device
        self.is_first_rank = stream.rank == 0
        self.rows = prepared.rows("train") if rows is None else rows
        self._file = ImageFile(prepared.path / "images.u8", prepared.image_size)
        self._stream = stream
        self._shrink = source_shrink(prepared.image_size, image_size)
        size = prepared.image_size // self._shrink
        self.shape = (1, size, size)

    @property
    def pins(self) -> bool:
        """Whether batches go to pinned memory, from where a GPU copies without a stop."""
        return self.device.type == "cuda"

    @property
    def batch_size(self) -> int:
        """Studies a batch."""
        return self._stream.batch_size

    @property
    def held(self) -> Held:
        """What all images take."""
        count = len(self.rows)
        return Held(count, count * math.prod(self.shape), count * self._file.image_size**2)

    def positions(self, step: int) -> np.ndarray:
        """Return the places in ``rows`` of the batch of a step, (B,) int64."""
        return self._stream.positions(step)

    def read(self, step: int) -> Batch:
        """Read the batch of a step, counted from 0 over the run, into memory of its own.

        Raises:
            InputError: the file was cut short, or the disk fails.
        """
        rows = self.rows_of(step)
        images = torch.empty((len(rows), *self.shape), dtype=torch.uint8)
        self.read_into(rows, images)
        return Batch(images, torch.from_numpy(rows))

    def rows_of(self, step: int) -> np.ndarray:
        """The manifest rows of a step's batch, (B,) int64."""
        return self.rows[self.positions(step)]

    def batch(self, pixels: Tensor, rows: np.ndarray) -> Batch:
        """Make a batch of images at their stored size, (B, S, S) uint8, on any device."""
        return Batch(box_average(pixels[:, None], self._shrink), torch.from_numpy(rows))

    def read_into(self, rows: np.ndarray, images: Tensor) -> None:
        """Read the images of manifest rows, (B,) int64, into ``images``, (B, 1, S, S) uint8, CPU.

        Raises:
            InputError: the file was cut short, or the disk fails.
        """
        pixels = images.numpy()[:, 0]
        if self._shrink == 1:
            self._file.read_into(rows, pixels)
            return
        for begin in range(0, len(rows), _PART):
            part = slice(begin, begin + _PART)
            average_boxes(self._file.read(rows[part]), self._shrink, pixels[part])

    def announce(self, step: int) -> None:
        """Let the system fetch the images of a step while something else is done."""
        self._file.announce(self.rows_of(step))
