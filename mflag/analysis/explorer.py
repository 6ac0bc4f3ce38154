"""Parts of a page that turn and answer: clouds of points, spectra. One file, nothing fetched."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mflag.downstream.encoders import BASELINES
from mflag.reporting.markup import Markup, tag
from mflag.reporting.plots import variable_of

_HERE = Path(__file__).parent
SCRIPT = (_HERE / "explorer.js").read_text()
STYLE = (_HERE / "explorer.css").read_text()


def clouds(results: dict[str, Any]) -> Markup:
    """Return the rotatable picture of three components, hidden where no script runs.

    Args:
        results: the content of ``analysis.json``.
    """
    rows, points = results["rows"], results["points"]
    names = [row["encoder"] for row in rows]
    shown = {
        "groups": points["groups"],
        "clouds": [
            {
                "name": row["encoder"],
                "colour": variable_of(row["encoder"], names),
                "shares": row["pca_shares"],
                "points": points["coordinates"][row["encoder"]],
                "radius": _radius(points["coordinates"][row["encoder"]]),
            }
            for row in rows
        ],
    }
    choose = tag("label", "Colour by ", tag("select"))
    legend = tag("div", class_="legend", role="group", aria_label="groups, to show or hide")
    shelf = tag("div", class_="shelf")
    hint = tag(
        "p",
        "Drag a picture, or choose it with the Tab key and turn it with the arrow keys; + and - "
        "zoom, 0 returns. All pictures turn together.",
        class_="quiet",
    )
    return _box("clouds", shown, choose, legend, shelf, hint)


def spectra(results: dict[str, Any]) -> Markup:
    """Return the spectra with the values under the pointer, hidden where no script runs.

    Args:
        results: the content of ``analysis.json``.
    """
    names = [row["encoder"] for row in results["rows"]]
    shown = {
        "series": [
            {
                "name": row["encoder"],
                "colour": variable_of(row["encoder"], names),
                "is_baseline": row["encoder"] in BASELINES,
                "values": row["log10_spectrum"],
                "shares": [round(float(s), 4) for s in np.cumsum(row["spectrum"])],
            }
            for row in results["rows"]
        ]
    }
    label = (
        "log10 of the covariance's singular values by direction; left and right keys move along it"
    )
    canvas = tag("canvas", tabindex=0, role="img", aria_label=label)
    return _box("spectra", shown, canvas, tag("output", aria_live="polite"))


def _box(kind: str, shown: dict[str, Any], *content: Markup) -> Markup:
    # No text of the data can end the element: "<" is written as an escape of JSON.
    text = json.dumps(shown, separators=(",", ":")).replace("<", "\\u003c")
    held = Markup(f'<script type="application/json">{text}</script>')
    return tag("div", *content, held, class_=f"explore {kind}", data_explore=kind, hidden="")


def _radius(points: list[list[float]]) -> float:
    """How far a picture reaches: a few outliers may lie beyond."""
    return float(np.quantile(np.linalg.norm(points, axis=1), 0.99)) or 1.0
