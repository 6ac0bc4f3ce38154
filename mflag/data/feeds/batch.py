"""What every feed yields, and how one batch is read from prepared data."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mflag.data.index_stream import IndexStream
from mflag.data.manifest import IMAGE_SIZE, Prepared


@dataclass(frozen=True)
class Batch:
    """The studies of a step.

    Attributes:
        images: (B, 1, S, S) uint8, S = 256 or a box-averaged half, quarter, ... of it.
        rows: (B,) int64, rows of the manifest.
    """

    images: Tensor
    rows: Tensor

    def pinned(self) -> "Batch":
        """Copy the images into pinned memory; rows stay, the CPU uses them."""
        return Batch(self.images.pin_memory(), self.rows)


class Feed(Protocol):
    """An iterator of batches that holds threads or processes until it is closed."""

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the steps asked for, in order."""
        ...

    def close(self) -> None:
        """Stop reading; may be called twice."""
        ...


class BatchReader:
    """Reads the batch of a step: a pure function, so any feed may read any step."""

    def __init__(
        self,
        prepared: Prepared,
        stream: IndexStream,
        image_size: int,
        *,
        pins: bool = False,
        rows: np.ndarray | None = None,
    ) -> None:
        """Keep what is needed to read.

        Args:
            prepared: the studies.
            stream: order of the rows.
            image_size: what training asks for; below 128 a box-averaged level is read.
            rows: (n,) int64 manifest rows that the stream orders; None: the training split.
            pins: put batches into pinned memory, from where a GPU copies without a stop.
        """
        self.pins = pins
        self._images = prepared.images
        self._rows = prepared.rows("train") if rows is None else rows
        self._stream = stream
        self._shrink = source_shrink(image_size)

    def read(self, step: int) -> Batch:
        """Read the batch of a step, counted from 0 over the run."""
        rows = self._rows[self._stream.positions(step)]
        order = np.argsort(rows)  # the disk is read forwards
        pixels = np.empty((len(rows), IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        pixels[order] = self._images[rows[order]]
        images = box_average(torch.from_numpy(pixels)[:, None], self._shrink)
        return Batch(images, torch.from_numpy(rows))


def source_shrink(image_size: int) -> int:
    """By which power of 2 the stored images are averaged before an image_size² crop is cut."""
    shrink = 1
    while IMAGE_SIZE // (2 * shrink) > image_size:
        shrink *= 2
    return shrink


def box_average(images: Tensor, shrink: int) -> Tensor:
    """Average boxes of shrink × shrink pixels: (B, 1, S, S) uint8 to (B, 1, S/shrink, S/shrink).

    Halves are rounded up, so the result does not depend on the machine.
    """
    if shrink == 1:
        return images
    b, _, height, width = images.shape
    boxes = images.view(b, 1, height // shrink, shrink, width // shrink, shrink)
    total = boxes.sum(dim=(3, 5), dtype=torch.int32)
    return ((total + shrink * shrink // 2) // (shrink * shrink)).to(torch.uint8)
