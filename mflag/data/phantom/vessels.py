"""Pulmonary vessels: three generations of curves from each hilum outwards, thinner and thinner."""

import numpy as np

from mflag.data.phantom.draws import Array, Draws
from mflag.data.phantom.frame import Frame, blur, bump
from mflag.data.phantom.lines import splat

POINTS = 30
_T = np.linspace(0.0, 1.0, POINTS)
_WALL_V = (0.0, 0.1, 0.2, 0.4, 0.65, 0.9, 1.3)
_WALL_A = (0.42, 0.66, 0.79, 0.9, 0.97, 0.99, 0.98)

Curves = tuple[Array, Array]  # (branches, POINTS) a and v


def draw_vessels(frame: Frame, fullness: float, draws: Draws) -> Array:
    """Return (256, 256) attenuation of vessels and hila, before it is limited to the lungs.

    Args:
        frame: the grid.
        fullness: 1 as usual, more in congestion: wider, and more of them seen far out.
        draws: the stream of the anatomy.
    """
    fullness *= draws.uniform(0.88, 1.14)  # people differ
    columns, rows, widths, weights = [], [], [], []
    for side in (-1.0, 1.0):
        for (a, v), first, last in _tree(side, draws):
            width = (first + (last - first) * _T) * fullness
            x, y = frame.pixels(side * a, v)
            length = np.hypot(np.diff(x, axis=1), np.diff(y, axis=1)).sum(axis=1, keepdims=True)
            columns.append(x.ravel())
            rows.append(y.ravel())
            widths.append(np.broadcast_to(width, a.shape).ravel())
            weights.append((width * width * length * (1.0 / POINTS)).ravel())
    vessels = _by_width(*(np.concatenate(part) for part in (columns, rows, widths, weights)))
    return vessels + _hila(frame, fullness, draws)


def _tree(side: float, draws: Draws) -> list[tuple[Curves, float, float]]:
    """Return the generations with their width (pixels) at the start and at the end."""
    count = 11
    hilum_v = 0.47 - 0.025 * side
    spread = np.linspace(0.1, 1.16, count)
    end_v = spread + draws.uniforms(count, -0.05, 0.05)
    reach = draws.uniforms(count, 0.68, 0.95)
    end_a = 0.16 + (np.interp(end_v, _WALL_V, _WALL_A) - 0.16) * reach
    # the lowest run down beside the heart
    end_a[-3:] *= np.array([0.95, 0.8, 0.55])
    start_a = draws.uniforms(count, 0.16, 0.24)
    start_v = hilum_v + (spread - 0.6) * 0.16
    trunks = _curves((start_a, start_v), (end_a, end_v), 0.07, draws)
    twigs = _offshoots(trunks, 2, 0.24, draws)
    hairs = _offshoots(twigs, 2, 0.2, draws)
    return [(trunks, 2.1, 0.75), (twigs, 1.15, 0.55), (hairs, 0.75, 0.4)]


def _curves(start: Curves, end: Curves, bow: float, draws: Draws) -> Curves:
    """Return quadratic Bezier curves, bent sideways by up to ``bow``."""
    count = len(start[0])
    bent = draws.uniforms(count, -bow, bow)
    coordinates = []
    for axis, other, sign in ((0, 1, 1.0), (1, 0, -1.0)):
        way = end[other] - start[other]
        control = 0.5 * (start[axis] + end[axis]) + sign * bent * np.sign(way)
        t = _T[None, :]
        coordinates.append(
            (1 - t) ** 2 * start[axis][:, None]
            + 2 * t * (1 - t) * control[:, None]
            + t * t * end[axis][:, None]
        )
    return coordinates[0], coordinates[1]


def _offshoots(parents: Curves, each: int, spread: float, draws: Draws) -> Curves:
    count = len(parents[0]) * each
    parent = np.repeat(np.arange(len(parents[0])), each)
    at = (draws.uniforms(count, 0.2, 0.85) * (POINTS - 1)).astype(np.intp)
    start = (parents[0][parent, at], parents[1][parent, at])
    end = tuple(
        axis[parent, -1]
        + draws.uniforms(count, -spread, spread)
        + 0.15 * (axis[parent, -1] - from_)
        for axis, from_ in zip(parents, start, strict=True)
    )
    return _curves(start, (end[0], end[1]), 0.04, draws)


def _by_width(columns: Array, rows: Array, widths: Array, weights: Array) -> Array:
    """Lay down the thick first, blur, add the thinner, blur again: each gets its own width."""
    field = np.zeros((256, 256))
    for low, high, passes in ((1.1, 9.0, 2), (0.0, 1.1, 1)):
        part = (widths >= low) & (widths < high)
        field = blur(field + splat(columns[part], rows[part], weights[part]), passes)
    return field


def _hila(frame: Frame, fullness: float, draws: Draws) -> Array:
    hila = np.zeros_like(frame.u)
    for side in (-1.0, 1.0):
        for _ in range(3):
            a, v = draws.uniform(0.18, 0.27), 0.47 - 0.025 * side + draws.uniform(-0.06, 0.08)
            half_u, half_v = draws.uniform(0.07, 0.12), draws.uniform(0.06, 0.1)
            area = frame.window((side * a - half_u, side * a + half_u), (v - half_v, v + half_v))
            du, dv = (frame.u[area] - side * a) / half_u, (frame.v[area] - v) / half_v
            hila[area] += 0.55 * fullness * bump(du * du + dv * dv)
    return hila
