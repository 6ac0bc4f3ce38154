"""Puts a comparison of variants on disk."""

from pathlib import Path
from typing import Any

from mflag.ablation.report import build_plots, lead, markdown, sections
from mflag.reporting.page import render_page
from mflag.reporting.plots import write_plots
from mflag.runtime.atomic_write import write_json, write_text


def write_ablation(results: dict[str, Any], out: Path) -> Path:
    """Write ``plots/``, ``report.html``, ``ablation.md`` and at last ``ablation.json``.

    Returns:
        The report's path.

    Raises:
        InputError: the disk is full or not writable.
    """
    plots = build_plots(results)
    write_plots(plots, out)
    page = render_page("Ablation", lead(results), sections(results, plots))
    write_text(out / "report.html", page)
    write_text(out / "ablation.md", markdown(results))
    write_json(out / "ablation.json", results)
    return out / "report.html"
