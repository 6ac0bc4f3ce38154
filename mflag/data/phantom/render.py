"""From attenuation to grey values: scatter, exposure, tone curve, noise, collimation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mflag.data.phantom.draws import Array, Draws
from mflag.data.phantom.frame import SIZE, blur, enlarge, shrink
from mflag.data.phantom.texture import Texture

_Y, _X = np.meshgrid(np.arange(SIZE) - 127.5, np.arange(SIZE) - 127.5, indexing="ij")


@dataclass(frozen=True)
class Exposure:
    """How a study was taken and shown; none of it depends on the findings.

    Attributes:
        detail: share of local contrast added (unsharp masking) or, below 0, lost to scatter.
        dark, bright: grey values of air and of bone, 0 to 1.
        curve: bend of the tone curve; above 0 brightens.
        noise: deviation of the noise in dense regions, grey values 0 to 255.
        sharpness: share of the finest contrast added or, below 0, lost to the detector's blur.
    """

    detail: float
    dark: float
    bright: float
    curve: float
    noise: float
    sharpness: float

    @classmethod
    def draw(cls, draws: Draws) -> "Exposure":
        """Draw an exposure."""
        dim = draws.chance(0.22)  # shown in a wide window: low contrast all over
        return cls(
            detail=draws.uniform(-0.1, 1.0),
            dark=draws.uniform(-0.05, 0.12),
            bright=draws.uniform(0.5, 0.72) if dim else draws.uniform(0.75, 1.0),
            curve=draws.uniform(-0.25, 0.15) if dim else draws.uniform(-0.1, 0.85),
            noise=draws.uniform(1.0, 6.0),
            sharpness=draws.uniform(-0.9, 1.2),
        )


def develop(attenuation: Array, exposure: Exposure, texture: Texture) -> Array:
    """Return (256, 256) float64 grey values, 0 to 255, of an attenuation."""
    coarse = shrink(attenuation, 8)
    local = attenuation - enlarge(coarse, 8)
    wide = enlarge(coarse.reshape(8, 4, 8, 4).mean(axis=(1, 3)), 32)
    shown = attenuation + exposure.detail * (0.35 * (attenuation - wide) + 0.4 * local)
    shown += exposure.sharpness * (shown - blur(shown))
    sample = np.sort(shown[8:248:5, 8:248:5], axis=None)
    low, high = sample[len(sample) // 50], sample[-len(sample) // 100]
    x = np.clip((shown - low) * (1.0 / (high - low)), -0.1, 1.15)
    y = x * (1.0 + exposure.curve * (1.0 - x))
    grey = 255.0 * (exposure.dark + (exposure.bright - exposure.dark) * y)
    # upside down, so that it shares nothing with the grain of the tissue below it
    quanta = (0.4 * texture.white + texture.fine)[::-1]
    # fewer quanta reach the detector behind dense tissue
    noise = exposure.noise * (0.35 + 0.65 * np.maximum(x, 0.0)) * quanta
    return grey + noise


def collimate(draws: Draws) -> NDArray[np.bool_]:
    """Return (256, 256) bool: where the beam was open."""
    open_field = np.ones((SIZE, SIZE), dtype=bool)
    if not draws.chance(0.75):
        return open_field
    tilt = draws.normal(0.0, 0.018)
    x, y = _X + tilt * _Y, _Y - tilt * _X
    sideways = draws.uniform(0.0, 12.0) if draws.chance(0.5) else -40.0
    upright = draws.uniform(4.0, 28.0) if draws.chance(0.8) else -40.0
    open_field &= np.abs(x + draws.uniform(-3.0, 3.0)) < 127.5 - sideways
    open_field &= np.abs(y + draws.uniform(-3.0, 3.0)) < 127.5 - upright
    return open_field
