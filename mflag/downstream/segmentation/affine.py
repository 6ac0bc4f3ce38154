"""Random zoom and rotation of an image and its mask together."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mflag.config.evaluate import AffineConfig
from mflag.data.augment import AugmentParameters
from mflag.data.counter_random import uniform
from mflag.errors import InputError


def check_affine(config: AffineConfig) -> None:
    """Refuse what cannot be drawn.

    Raises:
        InputError: a value out of range, with its key.
    """
    if not 0 <= config.scale < 1:
        raise InputError(f"task.affine.scale is {config.scale}; give 0 or more, below 1")
    if not 0 <= config.rotation_degrees <= 180:
        raise InputError(
            f"task.affine.rotation_degrees is {config.rotation_degrees}; give 0 to 180"
        )
    if not 0 <= config.probability <= 1:
        raise InputError(f"task.affine.probability is {config.probability}; give 0 to 1")


def draw_affine(config: AffineConfig, seed: int, epoch: int, rows: np.ndarray) -> AugmentParameters:
    """Draw the change of a batch: a pure function of (seed, epoch, row).

    Args:
        config: ranges; grey values stay.
        seed: of the draw.
        epoch: from 0.
        rows: (B,) int64 manifest rows.
    """
    u = uniform(seed, epoch, rows, 3)
    changes = u[:, 0] < config.probability
    zoom = np.where(changes, 1 + config.scale * (2 * u[:, 1] - 1), 1.0)
    angle = np.where(changes, np.deg2rad(config.rotation_degrees) * (2 * u[:, 2] - 1), 0.0)
    theta = np.zeros((len(rows), 2, 3))  # from output to input, so a zoom divides
    theta[:, 0, 0] = theta[:, 1, 1] = np.cos(angle) / zoom
    theta[:, 1, 0] = np.sin(angle) / zoom
    theta[:, 0, 1] = -theta[:, 1, 0]
    ones = torch.ones(len(rows))
    return AugmentParameters(torch.from_numpy(theta).float(), ones, ones)


def move_masks(masks: Tensor, parameters: AugmentParameters, size: int) -> Tensor:
    """Return masks (B, H, H) bool where ``augment`` puts their images, (B, size, size) float32.

    The nearest pixel counts; what comes in from outside is background.
    """
    grid = functional.affine_grid(
        parameters.theta, [len(masks), 1, size, size], align_corners=False
    )
    moved = functional.grid_sample(
        masks[:, None].float(), grid, "nearest", "zeros", align_corners=False
    )
    return moved[:, 0]
