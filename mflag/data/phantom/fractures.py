"""Broken bones: which, where, and how far the fragments have moved."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mflag.data.phantom.draws import Array, Draws
from mflag.data.phantom.findings import Condition
from mflag.data.phantom.frame import SIZE, Window, bump, ramp

_FIRST_RIB = {"upper": (2, 3), "middle": (3, 5), "lower": (5, 6)}
_SPREAD = 0.06  # of the mask along the bone, body units


@dataclass(frozen=True)
class Fracture:
    """One fracture, and where it is seen.

    Attributes:
        on_left: the side of the patient.
        clavicle: the clavicle is broken, not ribs.
        ribs: the highest broken rib, counted from 0, and the first that is whole again.
        places: distance of each break from the midline, body units.
        tilt: how oblique the breaks are.
        drop: how far the outer fragment sinks, body units.
        density: how much denser than bone the overlapping ends are.
        mask: (256, 256) bool, written when the bone is drawn.
    """

    on_left: bool
    clavicle: bool
    ribs: tuple[int, int]
    places: Array
    tilt: float
    drop: float
    density: float
    mask: NDArray[np.bool_]

    @classmethod
    def draw(cls, condition: Condition, draws: Draws) -> "Fracture":
        """Draw where and how the bone of a condition breaks."""
        count = max(1, condition.broken_ribs)
        first = draws.pick(range(*_FIRST_RIB[condition.zone]))
        clavicle = condition.kind == "clavicle"
        middle = draws.uniform(0.48, 0.66) if clavicle else draws.uniform(0.6, 0.78)
        return cls(
            on_left=condition.side == "left",
            clavicle=clavicle,
            ribs=(first, first + count),
            places=middle + draws.uniforms(count, -0.03, 0.03),
            tilt=draws.uniform(-0.7, 0.7),
            drop=(0.018 + 0.03 * condition.amount) * draws.pick((-1.0, 1.0, 1.0)),
            density=0.8 if clavicle else 1.2 + 0.6 * condition.amount,
            mask=np.zeros((SIZE, SIZE), dtype=bool),
        )

    def sink(self, beyond: Array) -> Array:
        """Return how far bone at a distance beyond the break has moved down."""
        return self.drop * ramp(beyond + 0.006, 0.012) * ramp(0.42 - beyond, 0.4)

    def part(self, beyond: Array) -> Array:
        """Return the factor of bone around the break: a dark gap between dense ends."""
        gap = bump((beyond * (1.0 / 0.032)) ** 2)
        ends = bump(((np.abs(beyond) - 0.045) * (1.0 / 0.035)) ** 2)
        return 1.0 - gap + self.density * ends


def break_ribs(
    fractures: Sequence[Fracture], level: Array, spacing: float, first: float, area: Window,
    sides: tuple[Array, NDArray[np.bool_]],
) -> tuple[Array, Array]:  # fmt: skip
    """Move the outer fragments of broken ribs, and write the masks.

    Args:
        fractures: of ribs.
        level: v of each pixel of the area, less that of a rib's course; shifted in place.
        spacing: between two ribs.
        first: level of the first rib.
        area: the part of the image.
        sides: distance from the midline and left half, both of the area.

    Returns:
        The factor of the ribs' brightness, and the attenuation of the swelling around the breaks.
    """
    a, left = sides
    factor, swelling = np.ones_like(level), np.zeros_like(level)
    for fracture in fractures:
        top, end = fracture.ribs
        rib = np.floor((level - first) * (1.0 / spacing) + 0.5)
        hit = (rib >= top) & (rib < end) & (left == fracture.on_left)
        place = fracture.places.take(np.clip(rib - top, 0, end - top - 1).astype(np.intp))
        across = level - first - rib * spacing
        beyond = a - place + fracture.tilt * across
        level -= hit * fracture.sink(beyond)
        factor = np.where(hit, fracture.part(beyond), factor)
        squared = (beyond * (1.0 / 0.13)) ** 2 + (across * (1.0 / 0.056)) ** 2
        swelling += hit * bump(squared)
        fracture.mask[area] = hit & (np.abs(beyond) < _SPREAD) & (np.abs(across) < 0.045)
    return factor, swelling
