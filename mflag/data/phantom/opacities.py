"""Findings of the lung itself: opacities, lesions, consolidation, collapse, water."""

import math

import numpy as np

from mflag.data.phantom.changes import Changes, Site
from mflag.data.phantom.draws import Array
from mflag.data.phantom.findings import PIXEL_MM, Condition
from mflag.data.phantom.frame import blur, bump, ramp
from mflag.data.phantom.lines import smooth_path, splat


def draw_opacity(site: Site, condition: Condition, changes: Changes) -> None:
    """Haze that leaves the vessels visible, or a net of fine lines (scarring)."""
    amount, draws = condition.amount, site.draws
    u, v = site.place(condition, 0.25)
    radius = 26.0 + 18.0 * amount
    region = np.zeros_like(site.frame.u)
    for _ in range(3):
        shift_u, shift_v = draws.uniform(-0.14, 0.14), draws.uniform(-0.12, 0.12)
        size = radius * draws.uniform(0.8, 1.15)
        area, squared = site.distance(u + shift_u, v + shift_v, size, 0.9)
        region[area] += bump(squared)
    region = ramp(region, 1.6) * site.lungs.field * site.half(condition.side)
    if condition.kind == "reticular":
        # where smooth noise crosses 0 there is a net
        net = bump((site.texture.coarse * (1.0 / 0.34)) ** 2)
        changes.added += (0.06 + 0.09 * amount) * net * region
        changes.fill((0.08 + 0.16 * amount) * region, 0.4)
        return
    grain = 1.0 + 0.18 * site.texture.fine + 0.12 * site.texture.broad
    changes.fill((0.17 + 0.3 * amount) * region * grain, 0.4)


def draw_consolidation(site: Site, condition: Condition, changes: Changes) -> None:
    """Patches that flow together, with a coarse grain."""
    amount, draws = condition.amount, site.draws
    u, v = site.place(condition, 0.16)
    radius = 15.0 + 18.0 * amount
    patches = np.zeros_like(site.frame.u)
    for _ in range(6):
        shift_u, shift_v = draws.uniform(-0.17, 0.17), draws.uniform(-0.12, 0.12)
        size = radius * draws.uniform(0.55, 1.15)
        area, squared = site.distance(u + shift_u, v + shift_v, size, 1.15)
        patches[area] += bump(squared)
    grain = 0.45 * site.texture.coarse + 0.8 * site.texture.fine[::-1]
    inside = site.lungs.field * site.half(condition.side)
    density = ramp(patches * (1.0 + 0.3 * grain) - 0.05, 2.4) * inside
    changes.vessels *= 1.0 - 0.7 * density
    changes.fill((0.36 + 0.46 * amount) * density)


def draw_pneumonia(site: Site, condition: Condition, changes: Changes) -> None:
    """A lobe filled up to its fissure, with air bronchograms."""
    amount, draws, frame = condition.amount, site.draws, site.frame
    sign = 1.0 if condition.side == "left" else -1.0
    u, v = site.place(condition, 0.2)
    radius = 25.0 + 19.0 * amount
    patch = np.zeros_like(frame.u)
    area, squared = site.distance(u, v, radius, draws.uniform(0.95, 1.15))
    patch[area] = bump(squared)
    # the fissure: the lower edge in the upper zone, else the upper edge
    tilt = draws.uniform(0.0, 0.35) if condition.zone == "lower" else draws.uniform(-0.1, 0.1)
    offset = draws.uniform(0.3, 0.5) * radius / frame.position.height
    below = frame.v - v - tilt * (frame.a - abs(u))
    side = offset - below if condition.zone == "upper" else offset + below
    grain = 0.4 * site.texture.coarse[::-1] + 0.6 * site.texture.fine[:, ::-1]
    density = ramp(patch * (1.0 + 0.25 * grain) - 0.06, 0.5) * ramp(side, 0.02)
    density *= site.lungs.field * site.half(condition.side)
    density *= 1.0 - 0.6 * _bronchi(site, sign, u, v)
    changes.vessels *= 1.0 - 0.85 * density
    changes.fill((0.42 + 0.42 * amount) * density)


def _bronchi(site: Site, sign: float, u: float, v: float) -> Array:
    """Return (256, 256) 0 to 1: air-filled branches from the hilum to a place and beyond."""
    branches = np.zeros_like(site.frame.u)
    fades = np.linspace(1.0, 0.2, 240)
    for spread in (-0.2, -0.07, 0.07, 0.2):
        bend_u, bend_v, end_u, end_v = site.draws.uniforms(4, -0.07, 0.07)
        middle = (0.4 * u + sign * 0.12 + bend_u, 0.5 * (v + 0.47) + 0.2 * spread + bend_v)
        end = (u + 0.12 * sign + end_u, v + spread + end_v)
        columns, rows = site.frame.pixels(*smooth_path([(sign * 0.2, 0.47), middle, end]))
        step_x, step_y = np.gradient(columns), np.gradient(rows)
        branches += splat(columns, rows, fades * np.sqrt(step_x * step_x + step_y * step_y))
    return np.minimum(2.0 * blur(branches, 2), 1.0)


def draw_lesion(site: Site, condition: Condition, changes: Changes) -> None:
    """A nodule: a round shadow with a fairly sharp edge; a mass: larger and lobulated."""
    amount, draws = condition.amount, site.draws
    radius = 0.5 * condition.size_mm / PIXEL_MM
    u, v = site.place(condition, max(0.13, radius / site.frame.position.width))
    ball = np.zeros_like(site.frame.u)
    _add_ball(ball, site, (u, v), radius, draws.uniform(0.85, 1.15))
    if condition.detail == "mass":
        for _ in range(4):
            size = radius * draws.uniform(0.45, 0.65)
            away = 0.95 * (radius - 0.55 * size)
            slope = draws.uniform(-1.0, 1.0)
            out = draws.pick((-1.0, 1.0)) * math.sqrt(1.0 - slope * slope)
            centre = (
                u + away * slope / site.frame.position.width,
                v + away * out / site.frame.position.height,
            )
            _add_ball(ball, site, centre, size, 1.0)
    ball *= (site.lungs.wall > 0) * site.half(condition.side)
    changes.added += (0.1 + 0.09 * amount) * blur(ball)
    changes.masks.append(ball > 0.0)


def _add_ball(
    thickest: Array, site: Site, centre: tuple[float, float], radius: float, stretch: float
) -> None:
    """Put a ball into a field of thickness, 0 to 1, where it is thicker than what is there."""
    area, squared = site.distance(*centre, radius, stretch)
    ball = np.sqrt(np.maximum(1.0 - squared, 0.0))
    np.maximum(thickest[area], ball, out=thickest[area])


def draw_atelectasis(site: Site, condition: Condition, changes: Changes) -> None:
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


def draw_edema(site: Site, condition: Condition, changes: Changes) -> None:
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
