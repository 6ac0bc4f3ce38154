"""The augmentation as people run it with torchvision's transforms v2, at its best settings.

Crop and resize come before the rotation, which then turns 224² and not 256² pixels; grey stays one
channel until the end. Fusing all of it into one ``RandomAffine`` would be a fourth faster and is no
random resized crop: it knows neither another aspect nor another size.
"""

from collections.abc import Sequence
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
    augment = v2.Compose(
        [
            v2.RandomResizedCrop(size, SCALE),
            v2.RandomRotation(**ROTATION),
            v2.ColorJitter(**JITTER),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5], [0.5]),
        ]
    )
    return _to_channels(torch.stack([augment(image) for image in images]))


def torchvision_batched(images: Tensor, size: int) -> Tensor:
    """Augment a batch at once: torchvision draws one crop, angle and jitter for all its images.

    Args:
        images: (B, 1, H, W) uint8.
        size: height and width of the result.

    Returns:
        (B, 3, size, size) float32 in ``channels_last``.
    """
    augment = v2.Compose(
        [
            v2.RandomResizedCrop(size, SCALE, antialias=False),  # as ours; true is no faster
            v2.RandomRotation(**ROTATION),
            v2.ToDtype(torch.float32, scale=True),  # jitter is faster in float than in uint8
            v2.ColorJitter(**JITTER),
            v2.Normalize([0.5], [0.5]),
        ]
    )
    return _to_channels(augment(images))


def _to_channels(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
