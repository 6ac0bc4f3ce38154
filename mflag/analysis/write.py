"""Puts an analysis on disk."""

from pathlib import Path
from typing import Any

from mflag.analysis.page import build_page
from mflag.analysis.plots import build_plots
from mflag.reporting.plots import write_plots
from mflag.runtime.atomic_write import write_json, write_text


def write_analysis(out: Path, results: dict[str, Any]) -> Path:
    """Write ``plots/``, ``analysis.html`` and at last ``analysis.json``.

    Returns:
        The page's path.

    Raises:
        InputError: the disk is full or not writable.
    """
    plots = build_plots(results)
    page = build_page(results, plots)
    write_plots(plots, out)
    write_text(out / "analysis.html", page)
    write_json(out / "analysis.json", results)
    return out / "analysis.html"
