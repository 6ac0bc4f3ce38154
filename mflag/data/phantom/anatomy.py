"""Soft tissue and air: body, lungs, mediastinum with heart and aortic arch, diaphragm, trachea."""

from dataclasses import dataclass

import numpy as np

from mflag.data.phantom.draws import Array, Draws
from mflag.data.phantom.frame import A_AXIS, V_AXIS, Frame, bump, profile, ramp
from mflag.data.phantom.patient import Patient

# Lateral wall of the lung: (v, u). Above the apex the two walls cross, so no air is left.
_WALL = profile(
    V_AXIS,
    [(-0.03, 0.3), (-0.005, 0.44), (0.008, 0.52), (0.03, 0.6), (0.07, 0.685), (0.13, 0.765),
     (0.22, 0.84), (0.4, 0.92), (0.65, 0.98), (0.9, 1.0), (1.4, 0.99)],
    12,
)  # fmt: skip
_APEX = profile(
    V_AXIS,
    [(-0.03, 0.56), (-0.005, 0.42), (0.008, 0.34), (0.03, 0.27), (0.07, 0.2), (0.12, 0.14)],
    12,
)
_OUTLINE = [
    (-0.6, 0.42), (-0.42, 0.46), (-0.33, 0.56), (-0.26, 0.85), (-0.17, 1.25), (-0.05, 1.6),
    (0.12, 1.75), (0.26, 1.62), (0.38, 1.36), (0.55, 1.24), (1.0, 1.2), (2.0, 1.27),
]  # fmt: skip
_DEPTH = 0.74 + 0.26 * ramp(V_AXIS, 0.45)
_BESIDE_SPINE = 0.2 * ramp(A_AXIS - 0.1, 0.12)
_BELLY = 0.86 + 0.14 * ramp(V_AXIS - 0.2, 1.0) - 0.1 * ramp(-V_AXIS, 0.4)
_BELOW_NECK = 0.3 + 0.7 * ramp(V_AXIS - 0.1, 0.5)


@dataclass(frozen=True)
class Shape:
    """What findings change about the anatomy, in body units; pairs are (right, left).

    Attributes:
        heart: width of the heart over that of the chest.
        mediastinum: how much wider than usual the mediastinum above the heart is.
        raised: how much higher than usual each dome stands.
    """

    heart: float
    mediastinum: float
    raised: tuple[float, float]


@dataclass(frozen=True)
class Lungs:
    """Distances into the lungs, body units, and the air in them.

    Attributes:
        wall: (256, 256) from the lateral wall inwards.
        hilum: (256, 256) from the mediastinum outwards.
        dome: (256, 256) from the diaphragm upwards.
        above: (256, 256) 0 to 1, above the diaphragm.
        inner: (256, 256) 0 to 1, within the walls.
        field: (256, 256) 0 to 1, inside of the lung fields, soft at the edges.
        air: (256, 256) depth of air, 0 to 1, also behind the heart.
    """

    wall: Array
    hilum: Array
    dome: Array
    above: Array
    inner: Array
    field: Array
    air: Array


def make_lungs(frame: Frame, shape: Shape, draws: Draws) -> Lungs:
    """Return the lungs; the mediastinum and the diaphragm are their edges."""
    right, left = _mediastinum(shape, draws)
    wall = frame.along_v(_WALL) - frame.a
    hilum = frame.a - frame.along_v_by_side(right, left)
    dome = frame.along_a_by_side(*_domes(shape, draws)) - frame.v
    above = ramp(dome, 0.03)
    inside = ramp(hilum, 0.04)
    air = _rounded(wall, 0.32)
    air *= above
    air *= frame.along_v(_DEPTH)
    air *= inside + (1.0 - inside) * frame.along_a(_BESIDE_SPINE)
    inner = ramp(wall, 0.04)
    return Lungs(wall, hilum, dome, above, inner, inner * above * inside, air)


def _rounded(distance: Array, depth: float) -> Array:
    """Return the thickness of a body with a round edge: 0 outside, 1 from ``depth`` inwards."""
    t = distance * (1.0 / depth)
    np.maximum(t, 0.0, out=t)
    np.minimum(t, 1.0, out=t)
    return np.sqrt(t * (2.0 - t), out=t)


def _mediastinum(shape: Shape, draws: Draws) -> tuple[Array, Array]:
    """Return the right and the left border as tables over v; the heart spans 2 ``heart``."""
    knob = draws.uniform(0.2, 0.27)
    low = draws.uniform(0.83, 0.89)
    right_part = draws.uniform(0.3, 0.36)
    span_right, span_left = 2.0 * shape.heart * right_part, 2.0 * shape.heart * (1.0 - right_part)
    waist = draws.uniform(0.15, 0.19) + 0.04 * span_left
    more_right = 2.0 * shape.mediastinum * draws.uniform(0.35, 0.6)
    more_left = 2.0 * shape.mediastinum - more_right
    right = [(-0.3, 0.12), (0.1, 0.14 + 0.8 * more_right), (0.3, 0.165 + more_right),
             (0.45, 0.18 + 0.7 * more_right), (0.55, 0.2 + 0.1 * span_right + 0.2 * more_right),
             (0.64, 0.84 * span_right), (0.74, 0.99 * span_right), (low, span_right),
             (1.0, 0.84 * span_right), (1.1, 0.74 * span_right)]  # fmt: skip
    left = [(-0.3, 0.12), (0.08, 0.15 + 0.6 * more_left), (0.15, 0.17 + 0.9 * more_left),
            (0.2, knob - 0.01 + more_left), (0.25, knob + more_left),
            (0.3, knob - 0.04 + more_left), (0.35, waist + 0.95 * more_left),
            (0.42, waist + 0.04 + 0.6 * more_left),
            (0.5, 0.14 + 0.26 * span_left + 0.2 * more_left),
            (0.57, 0.68 * span_left), (0.67, 0.86 * span_left), (0.77, 0.965 * span_left),
            (low, span_left), (0.95, 0.95 * span_left), (1.02, 0.84 * span_left),
            (1.12, 0.7 * span_left)]  # fmt: skip
    right_border, left_border = profile(V_AXIS, right, 28), profile(V_AXIS, left, 20)
    return np.maximum(right_border, _APEX), np.maximum(left_border, _APEX)


def _domes(shape: Shape, draws: Draws) -> tuple[Array, Array]:
    """Return the height of the right and the left dome as tables over ``A_AXIS``."""
    tables = []
    for raised, level in zip(shape.raised, (0.985, 1.025), strict=True):
        top = level - raised + draws.uniform(-0.02, 0.02)
        centre = draws.uniform(0.40, 0.52)
        outer = draws.uniform(0.16, 0.25) + raised
        inner = 1.08 - top  # both meet in the midline
        out = np.maximum((A_AXIS - centre) / (1.0 - centre), 0.0)
        into = np.maximum((centre - A_AXIS) / centre, 0.0)
        tables.append(top + outer * out * out * (0.7 + 0.3 * out * out) + inner * into * into)
    return tables[0], tables[1]


def draw_body(frame: Frame, patient: Patient, draws: Draws) -> Array:
    """Return (256, 256) thickness of soft tissue without the lungs' air, about 0 to 1."""
    stout = 0.1 * patient.build
    outline = profile(V_AXIS, [(v, u + stout * min(1.0, max(0.2, u))) for v, u in _OUTLINE], 40)
    body = _rounded(frame.along_v(outline) - frame.a, 0.5)
    if draws.chance(0.7):
        middle, half = draws.uniform(1.5, 1.6) + stout, 0.28
        low = frame.window((-2.0, 2.0), (0.1, 2.2))
        arm = bump(((frame.a[low] - middle) * (1.0 / half)) ** 2)
        arm = 0.92 * np.sqrt(arm) * ramp(frame.v[low] - 0.12, 0.3)
        np.maximum(body[low], arm, out=body[low])
    body *= frame.along_v(_BELLY)
    return body


def draw_mediastinum(frame: Frame, lungs: Lungs, draws: Draws) -> Array:
    """Return (256, 256) extra attenuation of heart, great vessels and abdomen."""
    heart = _rounded(-lungs.hilum, 0.4)
    heart *= frame.along_v(_BELOW_NECK)
    heart *= 0.11
    abdomen = 0.72 + 0.06 * ~frame.left + 0.28 * ramp(-lungs.dome, 0.45)
    abdomen *= 1.0 - lungs.above
    abdomen *= lungs.inner
    abdomen *= draws.uniform(0.09, 0.16)
    heart += abdomen
    return heart


def add_airways(total: Array, frame: Frame, draws: Draws) -> None:
    """Take the attenuation that trachea and main bronchi lack from the total, in place."""
    bend = draws.uniform(-0.012, 0.04)
    carina = draws.uniform(0.32, 0.38)
    area = frame.window((-0.2, 0.2), (-0.6, carina + 0.05))
    u, v = frame.u[area], frame.v[area]
    middle = u + bend * ramp(v, 0.3)
    total[area] -= 0.085 * ramp(1.0 - np.abs(middle) * (1.0 / 0.085), 0.5) * ramp(carina - v, 0.04)
    for side, slope in ((-1.0, 1.0), (1.0, 0.7)):
        area = frame.window((-0.32, 0.32), (carina - 0.06, carina + 0.22))
        along = frame.v[area] - carina
        across = frame.u[area] * side - along / slope * 1.3
        shape = bump((across * (1.0 / 0.085)) ** 2)
        total[area] -= 0.06 * shape * ramp(along + 0.02, 0.03) * ramp(0.16 - along, 0.1)


def add_stomach(total: Array, frame: Frame, lungs: Lungs, draws: Draws) -> None:
    """Put gas under the left dome, in place; none in some studies."""
    if not draws.chance(0.65):
        return
    u, v = draws.uniform(0.35, 0.6), draws.uniform(1.12, 1.2)
    half_u, half_v = draws.uniform(0.12, 0.25), draws.uniform(0.05, 0.11)
    area = frame.window((u - half_u, u + half_u), (v - half_v, v + half_v))
    squared = ((frame.u[area] - u) / half_u) ** 2 + ((frame.v[area] - v) / half_v) ** 2
    gas = ramp(1.0 - squared, 0.7) * ramp(-lungs.dome[area] - 0.015, 0.04)
    if draws.chance(0.4):  # fluid level of an upright stomach
        gas = gas * ramp(v + 0.3 * half_v - frame.v[area], 0.02)
    total[area] -= draws.uniform(0.1, 0.2) * gas


def add_breasts(total: Array, frame: Frame, patient: Patient) -> None:
    """Add the breast shadows of a patient that has them, in place."""
    if not patient.breast:
        return
    low = 0.92 + 0.07 * patient.build
    for side in (-1.0, 1.0):
        centre = side * 0.7
        area = frame.window((centre - 0.5, centre + 0.5), (low - 0.42, low + 0.42))
        du, dv = (frame.u[area] - centre) * (1.0 / 0.46), (frame.v[area] - low) * (1.0 / 0.36)
        # a clear edge below, fading upwards into the chest wall
        inside = 1.0 - du * du - dv * dv
        total[area] += 0.085 * patient.breast * ramp(inside, 0.6) * ramp(dv + 0.9, 1.6)
