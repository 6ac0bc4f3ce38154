"""Findings in the lungs: what each does to air, vessels and tissue, and where it is."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mflag.data.phantom.anatomy import Lungs
from mflag.data.phantom.draws import Array, Draws
from mflag.data.phantom.frame import SIZE, Frame, blur, bump, ramp
from mflag.data.phantom.patient import Condition
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

    def distance(self, u: float, v: float, stretch: float = 1.0) -> Array:
        """Return (256, 256) squared distance in pixels; vertical ones count ``stretch`` times."""
        du = (self.frame.u - u) * self.frame.position.width
        dv = (self.frame.v - v) * (self.frame.position.height * stretch)
        return du * du + dv * dv


def draw_opacities(site: Site, conditions: tuple[Condition, ...]) -> Changes:
    """Return what all findings but the heart's and the devices do, with one mask a condition."""
    changes = Changes()
    for condition in conditions:
        DRAW[condition.finding](site, condition, changes)
    return changes


def _draw_effusion(site: Site, condition: Condition, changes: Changes) -> None:
    """Fluid to a level that rises towards the wall, and hides the diaphragm."""
    amount, a = condition.amount, site.frame.a
    level = 1.12 - 0.16 * amount - 0.46 * amount**2.2
    meniscus = site.draws.uniform(0.14, 0.22)
    rise = np.maximum(a - 0.5, 0.0) * 2.0
    surface = level - meniscus * rise * rise - 0.03 * bump((a * (1.0 / 0.35)) ** 2)
    fluid = ramp(site.frame.v - surface, 0.05) * ramp(site.lungs.wall, 0.03)
    fluid = fluid * ramp(site.lungs.dome + 0.02, 0.03) * site.half(condition.side)
    fluid *= ramp(site.lungs.hilum + 0.1, 0.05)
    fluid = blur(fluid)
    changes.added += 0.08 * fluid
    changes.vessels *= 1.0 - fluid
    changes.fill(0.97 * fluid, 0.4)


def _draw_consolidation(site: Site, condition: Condition, changes: Changes) -> None:
    """Patches that flow together, with a coarse grain."""
    amount, draws = condition.amount, site.draws
    u, v = site.place(condition, 0.16)
    radius = 15.0 + 18.0 * amount
    patches = np.zeros_like(site.frame.u)
    for _ in range(6):
        shift_u, shift_v = draws.uniform(-0.17, 0.17), draws.uniform(-0.12, 0.12)
        size = radius * draws.uniform(0.55, 1.15)
        patches += bump(site.distance(u + shift_u, v + shift_v, 1.15) * (1.0 / (size * size)))
    grain = 0.45 * site.texture.coarse + 0.8 * site.texture.fine[::-1]
    inside = site.lungs.field * site.half(condition.side)
    density = ramp(patches * (1.0 + 0.3 * grain) - 0.05, 2.4) * inside
    changes.vessels *= 1.0 - 0.7 * density
    changes.fill((0.36 + 0.46 * amount) * density)


def _draw_nodule(site: Site, condition: Condition, changes: Changes) -> None:
    """A round shadow with a fairly sharp edge."""
    amount, draws = condition.amount, site.draws
    radius = 3.2 + 6.8 * amount
    u, v = site.place(condition, 0.13)
    squared = site.distance(u, v, draws.uniform(0.85, 1.15)) * (1.0 / (radius * radius))
    ball = (
        np.sqrt(np.maximum(1.0 - squared, 0.0)) * (site.lungs.wall > 0) * site.half(condition.side)
    )
    changes.added += (0.1 + 0.09 * amount) * blur(ball)
    changes.masks.append(ball > 0.0)


def _draw_pneumothorax(site: Site, condition: Condition, changes: Changes) -> None:
    """Air between wall and lung: no vessels in it, a thin pleural line, denser lung beside it."""
    amount = condition.amount
    gap = 0.09 + 0.36 * amount
    lowest = 0.55 + 0.7 * amount
    depth = gap * (1.0 - ramp(site.frame.v - 0.05, lowest))
    edge = site.lungs.wall - depth
    half = site.half(condition.side)
    inside = site.lungs.field * half
    outside = ramp(-edge, 0.012) * ramp(site.lungs.wall, 0.03) * inside
    present = ramp(depth, 0.02)
    changes.added += 0.075 * bump((edge * (1.0 / 0.017)) ** 2) * inside * present
    changes.vessels *= 1.0 - outside
    collapsed = (0.05 + 0.25 * amount * amount) * inside * ramp(edge, 0.012) * present
    changes.air *= (1.0 + 0.14 * outside) * (1.0 - collapsed)
    changes.masks.append((outside * present) > 0.4)


def _draw_atelectasis(site: Site, condition: Condition, changes: Changes) -> None:
    """Plates of airless lung above the raised dome; a wedge beside the heart in the severe."""
    amount, draws = condition.amount, site.draws
    frame = site.frame
    sign = 1.0 if condition.side == "left" else -1.0
    inside = site.lungs.field * site.half(condition.side)
    density = np.zeros_like(frame.u)
    for _ in range(1 + (amount > 0.3) + (amount > 0.7)):
        u, v = site.place(condition, 0.1)
        slope = draws.uniform(-0.35, 0.35)
        along = (frame.u - u) * sign
        across = (frame.v - v - slope * along) * frame.position.height
        length, thick = (
            draws.uniform(0.2, 0.3) + 0.12 * amount,
            draws.uniform(2.0, 3.0) + 3.0 * amount,
        )
        plate = bump((across / thick) ** 2) * ramp(length - np.abs(along), 0.12)
        density = np.maximum(density, (0.38 + 0.25 * amount) * plate * inside)
    if amount > 0.5 and condition.zone == "lower":
        height = 0.12 + 0.3 * amount
        low = ramp(height * (1.15 - frame.a) - site.lungs.dome, 0.1)
        near = ramp(0.85 - frame.a, 0.4)
        density = np.maximum(density, (0.35 + 0.3 * amount) * low * near * inside)
    changes.vessels *= 1.0 - density
    changes.fill(density, 0.4)


def _draw_edema(site: Site, condition: Condition, changes: Changes) -> None:
    """Haze around both hila, and septal lines at the lower walls."""
    amount, draws = condition.amount, site.draws
    frame = site.frame
    du, dv = (
        (frame.a - 0.3) * (1.0 / (0.5 + 0.3 * amount)),
        (frame.v - 0.56) * (1.0 / (0.5 + 0.2 * amount)),
    )
    grain = site.texture.coarse[:, ::-1] + 1.4 * site.texture.fine[:, ::-1]
    haze = bump(du * du + dv * dv) * (1.0 + (0.12 + 0.2 * amount) * grain) * site.lungs.field
    changes.fill(np.clip((0.1 + 0.46 * amount) * haze, 0.0, 0.9), 0.45)
    if amount > 0.25:
        spacing = draws.uniform(0.026, 0.034)
        phase = (frame.v + 0.1 * frame.a) * (1.0 / spacing)
        lines = bump(((phase - np.floor(phase) - 0.5) * (1.0 / 0.28)) ** 2)
        place = ramp(site.lungs.wall, 0.02) * ramp(0.16 - site.lungs.wall, 0.08)
        place *= ramp(frame.v - 0.62, 0.1) * ramp(site.lungs.dome, 0.05)
        changes.added += 0.03 * amount * lines * place


DRAW: dict[str, Callable[[Site, Condition, Changes], None]] = {
    "pleural_effusion": _draw_effusion,
    "consolidation": _draw_consolidation,
    "nodule": _draw_nodule,
    "pneumothorax": _draw_pneumothorax,
    "atelectasis": _draw_atelectasis,
    "edema": _draw_edema,
}
