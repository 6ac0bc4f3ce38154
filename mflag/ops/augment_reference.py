"""The augmentation in plain PyTorch: ``affine_grid``, ``grid_sample``, and two factors."""

import torch
import torch.nn.functional as F
from torch import Tensor

# Pixels; further out, or NaN, a source coordinate has no fraction left, and the image is NaN.
FARTHEST = 2.0**30


def augment_reference(
    images: Tensor,
    theta: Tensor,
    brightness: Tensor,
    contrast: Tensor,
    out: Tensor,
    mean: float,
    std: float,
) -> None:
    """Write the augmented images into ``out``; see ``mflag.ops.augment_images``.

    Source coordinates are float32, so a pixel is off by up to 2⁻²³ · side · the step in grey
    between neighbours.

    Args:
        images: (B, 1, H, W) uint8.
        theta: (B, 2, 3) float32.
        brightness: (B,) float32.
        contrast: (B,) float32.
        out: (B, channels, size, size), a float dtype.
        mean: subtracted last.
        std: divided by last.
    """
    size = out.shape[-1]
    grid = F.affine_grid(theta, [len(images), 1, size, size], align_corners=False)
    pixels = F.grid_sample(images.float() / 255, grid, "bilinear", "zeros", align_corners=False)
    reach = theta.abs().sum(2).amax(1) * max(images.shape[2:])
    pixels = torch.where(_per_image(reach < FARTHEST), pixels, torch.nan)
    grey = pixels.mean(dim=(1, 2, 3), keepdim=True)
    pixels = (pixels - grey) * _per_image(contrast) + grey
    pixels = (pixels * _per_image(brightness)).clamp(0, 1)
    out.copy_((pixels - mean) / std)


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]
