"""A chest from the side, only so good that a lateral image is told from a frontal one."""

import numpy as np

from mflag.data.phantom.draws import Draws

_SIZE = 256


def draw_lateral(draws: Draws) -> np.ndarray:
    """Draw body, spine, heart, lungs and diaphragm from the side.

    Args:
        draws: the stream; place and size of everything depend on it.

    Returns:
        (256, 256) uint8, dense is bright; the front of the chest is on the left.
    """
    y, x = np.mgrid[0:_SIZE, 0:_SIZE] / _SIZE
    x = (x - 0.5) / draws.uniform(0.9, 1.05) + 0.5 + draws.uniform(-0.02, 0.02)
    dome = 0.72 + 0.25 * (x - 0.45) ** 2 + draws.uniform(-0.03, 0.03)
    grey = 150.0 * _ellipse(x, y, (0.5, 0.55), (0.36, 0.62))
    grey -= 105.0 * _ellipse(x, y, (0.5, 0.46), (0.27, 0.4)) * (y < dome)
    grey += 60.0 * _ellipse(x, y, (0.4, 0.6), (0.13, 0.14))
    spine = 0.72 - 0.1 * (y - 0.5) ** 2
    discs = 1.0 + 0.25 * np.sin(2 * np.pi * y * 16)
    grey += 55.0 * discs * np.exp(-(((x - spine) / 0.045) ** 2)) * (grey > 0)
    grey += 4.0 * draws.noise(_SIZE, _SIZE) * (grey > 0)
    grey[8:24, 8:12] = 240.0  # the side letter's bar
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def _ellipse(
    x: np.ndarray, y: np.ndarray, centre: tuple[float, float], radii: tuple[float, float]
) -> np.ndarray:
    """1 inside, 0 outside, with a soft edge."""
    distance = ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2
    return np.clip((1.05 - distance) / 0.1, 0.0, 1.0)
