"""From stored images to the size an encoder sees."""

import torch
from torch import Tensor
from torch.nn import functional


def resize_batch(images: Tensor, size: int) -> Tensor:
    """Return images of ``size`` × ``size`` pixels with grey values 0 to 1.

    Whole boxes of pixels are averaged when the size divides the images' own; else bilinear
    interpolation with antialias.

    Args:
        images: (B, 1, H, H) uint8, any device.
        size: height and width of the result, pixels.

    Returns:
        (B, 1, size, size) float32 on the same device.
    """
    values = images.to(torch.float32).div_(255)
    stored = values.shape[-1]
    if stored == size:
        return values
    if stored % size == 0:
        return functional.avg_pool2d(values, stored // size)
    return functional.interpolate(
        values, (size, size), mode="bilinear", antialias=True, align_corners=False
    )
