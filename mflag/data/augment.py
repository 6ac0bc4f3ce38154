"""The batched augmentation: crop, rotation, resize, brightness, contrast, normalisation."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mflag.config.feed import AugmentConfig
from mflag.data.counter_random import uniform
from mflag.errors import InputError
from mflag.models.encoder_file import IMAGE_MEAN, IMAGE_STD
from mflag.ops import augment_images
from mflag.runtime.transfer import send

_LOG_ASPECT = math.log(4 / 3)  # of the crop, as torchvision's RandomResizedCrop


@dataclass(frozen=True)
class AugmentParameters:
    """What happens to each image of a batch.

    Attributes:
        theta: (B, 2, 3) float32, output to input coordinates as ``F.affine_grid`` takes them.
        brightness: (B,) float32 factor.
        contrast: (B,) float32 factor around the image's mean.
    """

    theta: Tensor
    brightness: Tensor
    contrast: Tensor

    def to(self, device: torch.device) -> "AugmentParameters":
        """Copy to a device, without a wait."""
        return AugmentParameters(
            send(self.theta, device), send(self.brightness, device), send(self.contrast, device)
        )


def check_augment(config: AugmentConfig) -> None:
    """Refuse what cannot be drawn.

    Raises:
        InputError: a value out of range, with its key.
    """
    if not 0 < config.scale_min <= 1:
        raise InputError(f"augment.scale_min is {config.scale_min}; give more than 0, at most 1")
    for name in ("brightness", "contrast"):
        value = getattr(config, name)
        if not 0 <= value < 1:
            raise InputError(f"augment.{name} is {value}; give 0 or more, below 1")
    if not 0 <= config.rotation_degrees <= 180:
        raise InputError(f"augment.rotation_degrees is {config.rotation_degrees}; give 0 to 180")


def draw_parameters(
    config: AugmentConfig, seed: int, epoch: int, rows: np.ndarray
) -> AugmentParameters:
    """Draw the augmentation of a batch: a pure function of (seed, epoch, row).

    Args:
        config: ranges.
        seed: of the run.
        epoch: from 0.
        rows: (B,) int64 manifest rows.
    """
    u = uniform(seed, epoch, rows, 8)
    area = config.scale_min + (1 - config.scale_min) * u[:, 0]
    aspect = np.exp(_LOG_ASPECT * (2 * u[:, 1] - 1))
    width = np.minimum(np.sqrt(area * aspect), 1)  # of the image's side
    height = np.minimum(np.sqrt(area / aspect), 1)
    center_x = (1 - width) * (2 * u[:, 2] - 1)  # -1 left edge, 1 right edge
    center_y = (1 - height) * (2 * u[:, 3] - 1)
    angle = np.deg2rad(config.rotation_degrees) * (2 * u[:, 4] - 1)
    mirror = np.where(config.flip & (u[:, 7] < 0.5), -1.0, 1.0)
    theta = np.empty((len(rows), 2, 3))
    theta[:, 0, 0], theta[:, 0, 1] = mirror * width * np.cos(angle), -height * np.sin(angle)
    theta[:, 1, 0], theta[:, 1, 1] = mirror * width * np.sin(angle), height * np.cos(angle)
    theta[:, 0, 2], theta[:, 1, 2] = center_x, center_y
    return AugmentParameters(
        torch.from_numpy(theta).float(),
        torch.from_numpy(1 + config.brightness * (2 * u[:, 5] - 1)).float(),
        torch.from_numpy(1 + config.contrast * (2 * u[:, 6] - 1)).float(),
    )


def augment(
    images: Tensor,
    parameters: AugmentParameters,
    size: int,
    dtype: torch.dtype = torch.float32,
    channels: int = 3,
) -> Tensor:
    """Apply drawn parameters.

    Args:
        images: (B, 1, H, W) uint8.
        parameters: of the same batch, on the same device.
        size: height and width of the result, pixels.
        dtype: float32, or bfloat16: what autocast makes of the float32 result.
        channels: 3, all equal, or 1 for an encoder with a grey stem.

    Returns:
        (B, channels, size, size) in ``channels_last``, normalised.
    """
    theta, factors = parameters.theta, (parameters.brightness, parameters.contrast)
    return augment_images(
        images, theta, *factors, size=size, mean=IMAGE_MEAN, std=IMAGE_STD, channels=channels,
        dtype=dtype,
    )  # fmt: skip
