"""Puts an evaluation on disk."""

import io
import shutil
from pathlib import Path

from mflag.downstream.task import Outcome, Task
from mflag.reporting.gallery import FOLDER, write_pictures
from mflag.reporting.page import render_page
from mflag.reporting.plots import write_plots
from mflag.runtime.atomic_write import atomic_write, write_json, write_text


def write_results(task: Task, outcome: Outcome, out: Path) -> Path:
    """Write ``plots/``, ``pictures/``, ``drawn_ids.parquet``, the report, at last ``results.json``.

    Returns:
        The report's path.

    Raises:
        InputError: the disk is full or not writable.
    """
    results = outcome.results
    drawn = io.BytesIO()
    outcome.drawn_ids.to_parquet(drawn, index=False)
    plots = task.plots(results)
    dataset = results["data"]["dataset"]
    where = "generated studies" if dataset == "phantom" else dataset
    sections = task.sections(results, plots, outcome.pictures)
    report = render_page(f"Encoders on {where}", task.lead(results), sections)
    shutil.rmtree(out / FOLDER, ignore_errors=True)
    write_plots(plots, out)
    write_pictures(outcome.pictures, out)
    with atomic_write(out / "drawn_ids.parquet") as file:
        file.write(drawn.getvalue())
    write_text(out / "report.html", report)
    write_json(out / "results.json", results)
    return out / "report.html"
