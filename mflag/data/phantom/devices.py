"""Tubes, catheters and pacemakers; and the leads on the skin that are no finding."""

import numpy as np
from numpy.typing import NDArray

from mflag.data.phantom.draws import Array, Draws
from mflag.data.phantom.findings import Condition
from mflag.data.phantom.frame import Frame, blur, ramp
from mflag.data.phantom.lines import smooth_path, splat

Nodes = list[tuple[float, float]]


def draw_device(
    frame: Frame, condition: Condition, draws: Draws
) -> tuple[Array, NDArray[np.bool_]]:
    """Return (256, 256) attenuation of a device, and its mask."""
    sign = 1.0 if condition.side == "left" else -1.0
    jitter = draws.uniforms(6, -1.0, 1.0)
    if condition.kind == "tracheal_tube":
        return _tube(
            frame,
            [(0.02 * jitter[0], -0.6), (0.0, 0.0), (0.01 * jitter[1], 0.28 + 0.05 * jitter[2])],
            0.15,
            1.9,
        )
    if condition.kind == "central_line":
        tip = (-0.13 + 0.02 * jitter[0], 0.45 + 0.07 * jitter[1])
        return _tube(frame, [*_entry(sign, jitter), (-0.13, 0.26), tip], 0.19, 0.0)
    if condition.kind == "chest_tube":
        outside = (sign * 1.3, 0.75 + 0.1 * jitter[0])
        turn = (sign * (0.85 + 0.05 * jitter[1]), 0.5 + 0.1 * jitter[2])
        tip = (sign * (0.5 + 0.1 * jitter[3]), 0.14 + 0.06 * jitter[4])
        return _tube(frame, [outside, (sign * 1.0, 0.68 + 0.1 * jitter[0]), turn, tip], 0.17, 1.9)
    if condition.kind == "gastric_tube":
        path = [
            (0.03 * jitter[0], -0.6),
            (0.03, 0.2),
            (0.02, 0.7),
            (0.08, 1.0),
            (0.3 + 0.08 * jitter[1], 1.2),
        ]
        return _tube(frame, path, 0.16, 1.0)
    return _pacemaker(frame, sign, jitter)


def _entry(sign: float, jitter: Array) -> Nodes:
    """Return the way of a central line: from the neck, or from under the clavicle."""
    if jitter[2] > 0.0:
        return [(sign * 0.3, -0.6), (sign * 0.26, -0.2), (sign * 0.18, 0.08)]
    return [(sign * 1.2, 0.12), (sign * 0.75, 0.06 + 0.02 * jitter[3]), (sign * 0.3, 0.07)]


def _tube(
    frame: Frame, nodes: Nodes, strength: float, bore: float
) -> tuple[Array, NDArray[np.bool_]]:
    """Draw a curve; with a bore (pixels) two walls and a denser stripe."""
    u, v = smooth_path(nodes)
    columns, rows = frame.pixels(u, v)
    step_x, step_y = np.gradient(columns), np.gradient(rows)
    step = np.sqrt(step_x * step_x + step_y * step_y) + 1e-9
    shadow = np.zeros_like(frame.u)
    for offset, share in ((-bore, 0.6), (bore, 1.0)) if bore else ((0.0, 1.0),):
        x, y = columns - offset * step_y / step, rows + offset * step_x / step
        shadow += splat(x, y, share * step)
    reach = blur(shadow, 1 + (bore > 0))
    return strength * blur(shadow) * 2.0, reach > 0.06


def _pacemaker(frame: Frame, sign: float, jitter: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Draw the can below the clavicle and one or two leads; the mask is all of it."""
    u, v = sign * (0.78 + 0.06 * jitter[0]), 0.17 + 0.04 * jitter[1]
    tip = (0.36 + 0.06 * jitter[2], 0.88 + 0.04 * jitter[3])
    leads: Nodes = [(u, v), (sign * 0.4, 0.07), (-0.06, 0.2), (-0.14, 0.5), (-0.05, 0.78), tip]
    shadow, mask = _tube(frame, leads, 0.16, 0.0)
    if jitter[4] > 0.0:
        more, more_mask = _tube(frame, [*leads[:3], (-0.15, 0.45), (-0.2, 0.62)], 0.16, 0.0)
        shadow, mask = shadow + more, mask | more_mask
    x = np.abs(frame.u - u) * frame.position.width
    y = np.abs(frame.v - v) * frame.position.height
    can = ramp(1.0 - (x * (1.0 / 9.5)) ** 4 - (y * (1.0 / 8.0)) ** 4, 0.35)
    return np.maximum(shadow, 0.42 * can), mask | (can > 0.3)


def draw_skin_leads(frame: Frame, draws: Draws) -> Array:
    """Return (256, 256) attenuation of monitoring leads on the skin: seen often, reported never."""
    shadow = np.zeros_like(frame.u)
    for _ in range(draws.pick((2, 3, 4))):
        side = draws.pick((-1.0, 1.0))
        end = (side * draws.uniform(0.35, 1.05), draws.uniform(0.1, 1.0))
        start = (side * draws.uniform(0.6, 1.5), draws.pick((-0.7, 1.7)))
        middle = (
            side * draws.uniform(0.2, 1.3),
            0.5 * (start[1] + end[1]) + draws.uniform(-0.2, 0.2),
        )
        wire, _ = _tube(frame, [start, middle, end], 0.11, 0.0)
        shadow += wire
        dx = (frame.u - end[0]) * frame.position.width
        dy = (frame.v - end[1]) * frame.position.height
        shadow += 0.12 * ramp(1.0 - (dx * dx + dy * dy) * (1.0 / 14.0), 0.5)
    return shadow
