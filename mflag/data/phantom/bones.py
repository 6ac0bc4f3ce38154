"""Bones: ribs, clavicles, spine, shoulder blades and humeri."""

from collections.abc import Sequence

import numpy as np

from mflag.data.phantom.anatomy import Lungs
from mflag.data.phantom.draws import Array, Draws
from mflag.data.phantom.fractures import Fracture, break_ribs
from mflag.data.phantom.frame import A_AXIS, V_AXIS, Frame, bump, profile, ramp, row_of

_POSTERIOR = -0.13 * A_AXIS + 0.36 * A_AXIS**2 + 1.8 * np.maximum(A_AXIS - 0.78, 0.0) ** 2
_ANTERIOR = 0.13 + 0.50 * (1.0 - A_AXIS) + 0.12 * (1.0 - A_AXIS) ** 2
_POSTERIOR_SEEN = 0.85 * ramp(A_AXIS - 0.09, 0.1)
# cartilage is not seen: the front ends fade towards the midline
_ANTERIOR_SEEN = 0.42 * ramp(A_AXIS - 0.38, 0.35)
_BELOW_APEX = ramp(V_AXIS + 0.04, 0.08)
_BLADE = profile(V_AXIS, [(-0.1, 1.12), (0.05, 0.99), (0.3, 0.94), (0.46, 0.98), (0.56, 1.1)], 25)


_ACROSS = np.arange(271) / 100.0 - 1.35  # a rib from its upper edge, -1, to the lower, 1
_RIB = (
    0.75 * ramp(1.15 - np.abs(_ACROSS), 0.3)
    + 0.2 * bump(((_ACROSS + 0.85) / 0.35) ** 2)
    + 0.4 * bump(((_ACROSS - 0.85) / 0.3) ** 2)
)


def draw_bones(frame: Frame, lungs: Lungs, fractures: Sequence[Fracture], draws: Draws) -> Array:
    """Return (256, 256) attenuation of all bones; 1 is a thick cortical rib."""
    bones = np.zeros_like(frame.u)
    _add_ribs(bones, frame, lungs, [f for f in fractures if not f.clavicle], draws)
    _add_spine(bones, frame, draws)
    _add_clavicles(bones, frame, [f for f in fractures if f.clavicle], draws)
    _add_shoulders(bones, frame, draws)
    return bones


def _cage(spacing: float, first: float, height: float, draws: Draws) -> Array:
    """Return a table over v of eleven ribs: flat inside, brighter at the cortex, most so below."""
    table = np.zeros_like(V_AXIS)
    jitter = draws.uniforms(33, -1.0, 1.0).reshape(11, 3)
    for k in range(11):
        centre = first + k * spacing + 0.007 * jitter[k, 0]
        half = 0.5 * height * (1.0 + 0.12 * jitter[k, 1])
        low, high = np.searchsorted(V_AXIS, (centre - 1.3 * half, centre + 1.3 * half))
        across = (V_AXIS[low:high] - centre) * (100.0 / half) + 135.0
        table[low:high] += (1.0 + 0.2 * jitter[k, 2]) * _RIB.take(across.astype(np.intp))
    return table


def _add_ribs(
    bones: Array, frame: Frame, lungs: Lungs, fractures: Sequence[Fracture], draws: Draws
) -> None:
    spacing = draws.uniform(0.106, 0.118)
    first = draws.uniform(-0.03, 0.02)
    skew = draws.uniforms(2, -0.012, 0.012)
    back_table = _cage(spacing, first, draws.uniform(0.05, 0.06), draws)
    front_table = _cage(spacing * 1.1, first - 0.03, draws.uniform(0.062, 0.075), draws)
    back_shift = frame.along_a_by_side(_POSTERIOR, _POSTERIOR + skew[0])
    front_shift = frame.along_a_by_side(_ANTERIOR, _ANTERIOR + skew[1])
    seen_back, seen_front = frame.along_a(_POSTERIOR_SEEN), frame.along_a(_ANTERIOR_SEEN)
    chest = frame.window((-1.1, 1.1), (-0.06, 1.5))
    wall, field, v = lungs.wall[chest], lungs.field[chest], frame.v[chest]
    level = v - back_shift[chest]
    if fractures:
        sides = (frame.a[chest], frame.left[chest])
        broken, swelling = break_ribs(fractures, level, spacing, first, chest, sides)
        bones[chest] += 0.85 * swelling * field  # blood around the breaks
        back = back_table.take(row_of(level)) * broken
    else:
        back = back_table.take(row_of(level))
    back *= seen_back[chest]
    back *= 0.25 + 0.75 * field
    front = front_table.take(row_of(v - front_shift[chest]))
    front *= seen_front[chest]
    front *= 0.1 + 0.9 * field
    back += front
    back *= ramp(wall + 0.07, 0.03)
    back += 0.4 * bump(((wall + 0.03) * (1.0 / 0.05)) ** 2)
    back *= frame.along_v(_BELOW_APEX)[chest]
    bones[chest] += back


def _add_spine(bones: Array, frame: Frame, draws: Draws) -> None:
    area = frame.window((-0.2, 0.2), (-0.8, 1.8))
    u, v = frame.u[area] + draws.uniform(-0.012, 0.012), frame.v[area]
    # vertebrae get taller downwards
    phase = (v + 0.12 * v * v) * (1.0 / 0.088) + draws.uniform()
    level = np.abs(phase - np.floor(phase) - 0.5) * 2.0
    half = 0.095 + 0.02 * ramp(v, 1.0) + 0.006 * level
    across = np.abs(u) / half
    column = ramp(1.15 - across, 0.35)
    edge = bump(((across - 0.9) * (1.0 / 0.2)) ** 2)
    disc = bump(((level - 1.0) * (1.0 / 0.45)) ** 2)
    pedicle = bump(((across - 0.6) * (1.0 / 0.22)) ** 2 + ((level - 0.2) * (1.0 / 0.5)) ** 2)
    process = bump((u * (1.0 / 0.025)) ** 2 + ((level - 0.6) * (1.0 / 0.7)) ** 2)
    seen = draws.uniform(0.7, 1.1) * (0.65 + 0.35 * ramp(0.5 - v, 0.5))
    bones[area] += seen * (
        column * (0.85 - 0.3 * disc) + 0.15 * edge + 0.25 * pedicle + 0.25 * process
    )


def _add_clavicles(bones: Array, frame: Frame, fractures: Sequence[Fracture], draws: Draws) -> None:
    lift = draws.uniform(-0.04, 0.04)
    for side in (-1.0, 1.0):
        tilt = draws.uniform(-0.02, 0.02)
        line = profile(
            A_AXIS,
            [(0.06, 0.13 + lift), (0.2, 0.1 + lift), (0.42, 0.065 + lift + tilt),
             (0.7, -0.02 + lift + tilt), (1.0, -0.075 + lift + 2 * tilt), (1.3, -0.06 + tilt)],
            60,
        )  # fmt: skip
        area = frame.window((0.0, 1.3) if side > 0 else (-1.3, 0.0), (-0.25, 0.3))
        a = np.maximum(side * frame.u[area], 0.0)
        half = 0.027 + 0.016 * bump((a * (1.0 / 0.22)) ** 2) + 0.006 * ramp(a - 0.9, 0.2)
        height = line.take(np.minimum(a * 1000.0, len(A_AXIS) - 1).astype(np.intp))
        below = frame.v[area] - height
        factor: np.ndarray | float = 1.0
        for fracture in fractures:
            if fracture.on_left == (side > 0):
                beyond = a - fracture.places[0] + fracture.tilt * below
                below = below - 1.6 * fracture.sink(beyond)
                factor = fracture.part(beyond)
                fracture.mask[area] = (np.abs(beyond) < 0.09) & (np.abs(below) < 0.06)
        across = np.abs(below) / half
        bone = 0.75 * ramp(1.15 - across, 0.3) + 0.6 * bump(((across - 0.8) * (1.0 / 0.35)) ** 2)
        bone *= factor
        bones[area] += bone * ramp(a - 0.1, 0.03) * ramp(1.28 - a, 0.06)


def _add_shoulders(bones: Array, frame: Frame, draws: Draws) -> None:
    spread = draws.uniform(-0.03, 0.1)  # how far the shoulder blades are turned out of the lungs
    top = frame.window((-2.2, 2.2), (-0.1, 0.6))
    v = frame.v[top]
    outwards = frame.a[top] - frame.along_v(_BLADE)[top] - spread
    edge = bump(((outwards - 0.012) * (1.0 / 0.025)) ** 2)
    blade = ramp(outwards, 0.03) * ramp(0.34 - outwards, 0.25)
    bones[top] += (0.25 * blade + 0.35 * edge) * ramp(v + 0.08, 0.08) * ramp(0.56 - v, 0.05)
    head_u, head_v = 1.34 + spread, draws.uniform(-0.02, 0.05)
    for side in (-1.0, 1.0):
        ends = sorted((side * (head_u - 0.2), side * (head_u + 0.4)))
        area = frame.window((ends[0], ends[1]), (head_v - 0.2, 1.2))
        du = side * frame.u[area] - head_u
        dv = frame.v[area] - head_v
        head = ramp(1.0 - (du * (1.0 / 0.17)) ** 2 - (dv * (1.0 / 0.125)) ** 2, 0.5)
        tube = np.abs(du - 0.08 - 0.14 * dv) * (1.0 / 0.085)
        shaft = 0.5 * ramp(1.0 - tube, 0.3) + 0.5 * bump(((tube - 0.85) * (1.0 / 0.3)) ** 2)
        bones[area] += 1.1 * np.maximum(head, shaft * ramp(dv, 0.1))
