"""Smaller levels of the stored images: boxes of pixels averaged."""

import numpy as np
import torch
from torch import Tensor


def source_shrink(stored: int, image_size: int) -> int:
    """By which power of 2 stored images are averaged before an image_size² crop is cut.

    A crop of 0.6 of the area is at least 0.77 of the side, so what is left has more pixels than
    are asked for.

    Args:
        stored: height and width of the stored images, pixels.
        image_size: what training asks for.
    """
    shrink = 1
    while stored // (2 * shrink) > image_size and stored % (2 * shrink) == 0:
        shrink *= 2
    return shrink


def average_boxes(images: np.ndarray, shrink: int, out: np.ndarray) -> None:
    """Average boxes of shrink × shrink pixels; halves are rounded up, so every machine agrees.

    One thread, one image at a time: it runs beside the training.

    Args:
        images: (B, H, W) uint8.
        shrink: a power of 2, at most 16, that divides H and W.
        out: (B, H / shrink, W / shrink) uint8, is written.
    """
    for image, averaged in zip(images, out, strict=True):
        rows = image[::shrink].astype(np.uint16)  # holds the sum of 256 pixels, rounding included
        for k in range(1, shrink):
            rows += image[k::shrink]
        total = rows[:, ::shrink] + np.uint16(shrink * shrink // 2)
        for k in range(1, shrink):
            total += rows[:, k::shrink]
        np.right_shift(total, 2 * (shrink.bit_length() - 1), out=averaged, casting="unsafe")


def box_average(images: Tensor, shrink: int) -> Tensor:
    """Do the same where the images are: (B, 1, S, S) uint8 to (B, 1, S/shrink, S/shrink)."""
    if shrink == 1:
        return images
    b, _, height, width = images.shape
    boxes = images.view(b, 1, height // shrink, shrink, width // shrink, shrink)
    total = boxes.sum(dim=(3, 5), dtype=torch.int32)
    return ((total + shrink * shrink // 2) // (shrink * shrink)).to(torch.uint8)
