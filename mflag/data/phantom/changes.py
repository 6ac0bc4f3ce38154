"""What findings change about air, vessels and tissue, and the study that they are drawn into."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mflag.data.phantom.anatomy import Lungs
from mflag.data.phantom.draws import Array, Draws
from mflag.data.phantom.findings import Condition
from mflag.data.phantom.frame import SIZE, Frame, Window
from mflag.data.phantom.texture import Texture

ZONES = {"upper": (0.13, 0.36), "middle": (0.42, 0.64), "lower": (0.7, 0.98)}


@dataclass
class Changes:
    """What the findings do to the lungs.

    Attributes:
        air: (256, 256) factor of the lungs' air.
        vessels: (256, 256) factor of what is seen of the vessels.
        added: (256, 256) extra attenuation.
        masks: one (256, 256) bool a condition, in the order drawn.
    """

    air: Array = field(default_factory=lambda: np.ones((SIZE, SIZE)))
    vessels: Array = field(default_factory=lambda: np.ones((SIZE, SIZE)))
    added: Array = field(default_factory=lambda: np.zeros((SIZE, SIZE)))
    masks: list[NDArray[np.bool_]] = field(default_factory=list)

    def fill(self, density: Array, share: float = 0.3) -> None:
        """Take away air; the mask is where more than ``share`` of the densest is lost."""
        self.air *= 1.0 - density
        self.masks.append(density > share * density.max())


@dataclass(frozen=True)
class Site:
    """The study that findings are drawn into."""

    frame: Frame
    lungs: Lungs
    texture: Texture
    draws: Draws

    def half(self, side: str) -> NDArray[np.bool_]:
        """Return (256, 256) bool: the half of the body."""
        return self.frame.left if side == "left" else ~self.frame.left

    def place(self, condition: Condition, spare: float) -> tuple[float, float]:
        """Return u and v of a point in the zone, ``spare`` from the wall where that can be."""
        sign = 1.0 if condition.side == "left" else -1.0
        v = self.draws.uniforms(16, *ZONES[condition.zone])
        u = sign * self.draws.uniforms(16, 0.22, 0.9)
        columns, rows = self.frame.pixels(u, v)
        at = (
            np.clip(np.rint(rows), 0, SIZE - 1).astype(np.intp),
            np.clip(np.rint(columns), 0, SIZE - 1).astype(np.intp),
        )
        room = np.minimum(self.lungs.hilum[at] + 0.5 * spare, self.lungs.dome[at])
        room = np.minimum(np.minimum(room, self.lungs.wall[at]), spare)
        best = int(np.argmax(room))
        return float(u[best]), float(v[best])

    def distance(
        self, u: float, v: float, radius: float, stretch: float = 1.0
    ) -> tuple[Window, Array]:
        """Return squared distance over squared radius, and the part of the image it is of.

        Args:
            u, v: the centre, body coordinates.
            radius: pixels; outside of the part the distance is above 1.
            stretch: vertical distances count so many times.
        """
        position = self.frame.position
        reach_u, reach_v = radius / position.width, radius / (position.height * stretch)
        area = self.frame.window((u - reach_u, u + reach_u), (v - reach_v, v + reach_v))
        du = (self.frame.u[area] - u) * (1.0 / reach_u)
        dv = (self.frame.v[area] - v) * (1.0 / reach_v)
        du *= du
        dv *= dv
        du += dv
        return area, du
