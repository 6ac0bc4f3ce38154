"""Dice by view: who tells the view apart knows where masks are more frequent."""

from typing import Any

import numpy as np

from mflag.downstream.bootstrap import interval
from mflag.downstream.circumstances import circumstances
from mflag.downstream.plan import Plan
from mflag.downstream.segmentation.dice import Counts, resamples, score
from mflag.downstream.segmentation.masks import Masks

_METRICS = ("dice_all", "dice_positive")


def view_counts(plan: Plan, masks: Masks) -> dict[str, Any]:
    """Return ``groups`` with ``view``, ``n_test`` and ``positive``: none without several views."""
    groups = []
    for name, is_in in _views(plan).items():
        rows = plan.test[is_in]
        positive = int(masks.is_positive[rows].sum())
        groups.append({"view": name, "n_test": len(rows), "positive": positive})
    return {"groups": groups}


def view_scores(plan: Plan, counts: Counts) -> list[dict[str, Any]]:
    """Return Dice of the test images of each view, with intervals."""
    rows = []
    for name, is_in in _views(plan).items():
        part = counts.part(is_in)
        for metric in _METRICS:
            value = score(part, metric)
            if not np.isnan(value):
                low, high = interval(resamples(part, metric, plan.weights[:, is_in]))
                bounds = {"ci_low": low, "ci_high": high}
                rows.append({"view": name, "metric": metric, "value": value} | bounds)
    return rows


def _views(plan: Plan) -> dict[str, np.ndarray]:
    """By name of the view, (t,) bool of the test rows."""
    found = next((c for c in circumstances(plan.prepared) if c.name == "view"), None)
    if found is None:
        return {}
    return {name: found.of_row[plan.test] == g for g, name in enumerate(found.groups)}
