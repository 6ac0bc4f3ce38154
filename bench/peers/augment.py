"""The augmentation as people run it with torchvision's transforms v2, at its best settings.

One sample at a time runs as in a DataLoader: as many workers as torch has threads, one thread each.
They are threads of this process, so that nothing is copied between processes.

Crop and resize come before the rotation, which then turns 224² and not 256² pixels; grey stays one
channel until the end. Fusing all of it into one ``RandomAffine`` would be a fourth faster and is no
random resized crop: it knows neither another aspect nor another size.
"""

import functools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

SCALE = (0.6, 1.0)
ROTATION: dict[str, Any] = {"degrees": 10.0, "interpolation": v2.InterpolationMode.BILINEAR}
JITTER: dict[str, Any] = {"brightness": 0.2, "contrast": 0.2}


def torchvision_pil(images: Sequence[Image.Image], size: int) -> Tensor:
    """Augment each image by itself, as in the ``__getitem__`` of a dataset.

    Args:
        images: B grey images (mode L), decoded.
        size: height and width of the result.

    Returns:
        (B, 3, size, size) float32 in ``channels_last``.
    """
    return _to_channels(torch.stack(list(_workers().map(_sample_transform(size), images))))


@functools.cache
def _sample_transform(size: int) -> v2.Compose:
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, SCALE),
            v2.RandomRotation(**ROTATION),
            v2.ColorJitter(**JITTER),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5], [0.5]),
        ]
    )


@functools.cache
def _workers() -> ThreadPoolExecutor:
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=_take_one_thread)
    all_there = threading.Barrier(threads)
    list(pool.map(lambda _: all_there.wait(), range(threads)))
    torch.set_num_threads(threads)  # a worker's 1 went to the BLAS library of all
    return pool


def torchvision_batched(images: Tensor, size: int) -> Tensor:
    """Augment a batch at once: torchvision draws one crop, angle and jitter for all its images.

    Args:
        images: (B, 1, H, W) uint8.
        size: height and width of the result.

    Returns:
        (B, 3, size, size) float32 in ``channels_last``.
    """
    return _to_channels(_batch_transform(size)(images))


@functools.cache
def _batch_transform(size: int) -> v2.Compose:
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, SCALE, antialias=False),  # as ours; true is no faster
            v2.RandomRotation(**ROTATION),
            v2.ToDtype(torch.float32, scale=True),  # jitter is faster in float than in uint8
            v2.ColorJitter(**JITTER),
            v2.Normalize([0.5], [0.5]),
        ]
    )


def _take_one_thread() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # the first question in a thread would take the number of all others


def _to_channels(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
