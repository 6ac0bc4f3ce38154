"""The pictures of an analysis, drawn from ``analysis.json`` alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mflag.reporting.plots import Plot, clouds_plot, curves_plot, lines_plot

# A still picture of more points is a blot.
_STILL_POINTS = 250
CURVES = {
    "loss": "Loss",
    "orthogonality_share": "Share of orthogonality",
    "effective_rank": "Effective rank (RankMe)",
    "top_singular_share": "Share of the top direction",
}
# What the checkpoints' own figure for a curve is called.
_MEASURED = {"effective_rank": "rankme", "top_singular_share": "top_share"}


def build_plots(results: dict[str, Any]) -> dict[str, Plot]:
    """Draw spectrum, components and trajectory, by name.

    Args:
        results: the content of ``analysis.json``.
    """
    spectra = {
        row["encoder"]: [10.0**v for v in row["log10_spectrum"] if v is not None] or [1e-300]
        for row in results["rows"]
    }
    words = {"x": "direction, from the strongest", "y": "singular value of the covariance"}
    plots = {
        "singular_spectrum": lines_plot(
            "singular_spectrum", "Singular values of the covariance of latents", spectra, words
        ),
        "pca": clouds_plot("pca", "First three components of the latents", _clouds(results), "PC"),
    }
    for figure, title in CURVES.items():
        curves = {
            name: _known(run["step"], run[figure])
            for name, run in results["trajectory"]["runs"].items()
            if figure in run
        }
        if curves:
            name = f"trajectory_{figure}"
            words = {"x": "training step", "y": title}
            plots[name] = curves_plot(
                name, f"{title} during training", curves, words, _marks(results, figure)
            )
    return plots


def _clouds(results: dict[str, Any]) -> dict[str, np.ndarray]:
    found = results["points"]["coordinates"]
    return {name: np.array(points)[:: _stride(points)] for name, points in found.items()}


def _stride(points: Sequence[Any]) -> int:
    return max(1, -(-len(points) // _STILL_POINTS))


def _known(steps: Sequence[int], values: Sequence[float | None]) -> tuple[list[int], list[float]]:
    pairs = [(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
    return [step for step, _ in pairs], [value for _, value in pairs]


def _marks(
    results: dict[str, Any], figure: str
) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
    if figure not in _MEASURED:
        return {}
    return {
        name: ([p["step"] for p in points], [p[_MEASURED[figure]] for p in points])
        for name, points in results["trajectory"]["checkpoints"].items()
    }
