"""Findings of the pleura: fluid, air, thickening."""

import numpy as np

from mflag.data.phantom.changes import ZONES, Changes, Site
from mflag.data.phantom.findings import Condition
from mflag.data.phantom.frame import blur, bump, ramp


def draw_effusion(site: Site, condition: Condition, changes: Changes) -> None:
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
    changes.added *= 1.0 - 0.8 * fluid  # fluid hides what lies in it
    changes.added += 0.08 * fluid
    changes.vessels *= 1.0 - fluid
    changes.fill(0.97 * fluid, 0.4)


def draw_pneumothorax(site: Site, condition: Condition, changes: Changes) -> None:
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


def draw_pleural_other(site: Site, condition: Condition, changes: Changes) -> None:
    """Thickened pleura along the wall, a cap over the apex, or calcified plaques."""
    if condition.kind == "plaque":
        _draw_plaques(site, condition, changes)
    elif condition.kind == "apical_cap":
        _draw_apical_cap(site, condition, changes)
    else:
        _draw_thickening(site, condition, changes)


def _draw_thickening(site: Site, condition: Condition, changes: Changes) -> None:
    """A band along the wall with an uneven inner edge."""
    amount, draws = condition.amount, site.draws
    low, high = ZONES[condition.zone]
    middle, reach = draws.uniform(low, min(high, 0.85)), draws.uniform(0.26, 0.34) + 0.16 * amount
    hill = 1.0 - ((site.frame.v - middle) * (1.0 / reach)) ** 2
    depth = (0.05 + 0.085 * amount) * np.sqrt(np.maximum(hill, 0.0))
    depth *= 1.0 + 0.3 * site.texture.broad
    band = ramp(depth - site.lungs.wall, 0.014) * ramp(depth - 0.012, 0.02)
    band *= ramp(site.lungs.wall + 0.01, 0.02) * site.lungs.above * site.half(condition.side)
    changes.added += (0.01 + 0.02 * amount) * band
    changes.vessels *= 1.0 - 0.8 * band
    changes.fill(0.9 * band, 0.4)


def _draw_apical_cap(site: Site, condition: Condition, changes: Changes) -> None:
    """A dense cap over the apex with an uneven lower edge."""
    amount = condition.amount
    bottom = site.draws.uniform(0.05, 0.065) + 0.1 * amount
    edge = bottom + 0.016 * site.texture.broad - site.frame.v - 0.06 * ramp(site.frame.a - 0.3, 0.3)
    cap = ramp(edge, 0.02) * site.lungs.field * site.half(condition.side)
    changes.added += (0.01 + 0.02 * amount) * cap
    changes.vessels *= 1.0 - 0.8 * cap
    changes.fill(0.9 * cap, 0.4)


def _draw_plaques(site: Site, condition: Condition, changes: Changes) -> None:
    """Chalky patches with sharp, ragged edges, seen through the lung."""
    amount, draws = condition.amount, site.draws
    u, v = site.place(condition, 0.2)
    patches = np.zeros_like(site.frame.u)
    for _ in range(2 + (amount > 0.4) + (amount > 0.75)):
        shift_u, shift_v = draws.uniform(-0.14, 0.14), draws.uniform(-0.1, 0.1)
        size = draws.uniform(6.0, 8.5) + 6.0 * amount
        flat = draws.uniform(1.3, 2.2)
        area, squared = site.distance(u + shift_u, v + shift_v, size, flat)
        np.maximum(patches[area], 1.0 - squared, out=patches[area])
    ragged = patches + 0.45 * site.texture.coarse * (patches > 0.0) - 0.1
    inside = site.lungs.inner * site.lungs.above * site.half(condition.side)
    chalk = ramp(ragged, 0.25) * inside
    changes.added += (0.1 + 0.07 * amount) * chalk * (1.0 + 0.5 * site.texture.fine)
    changes.masks.append(chalk > 0.3)
