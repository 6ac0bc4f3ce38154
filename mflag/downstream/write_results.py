"""Puts an evaluation on disk."""

import io
import shutil
from pathlib import Path
from typing import Any

from mflag.config.evaluate import EvaluateConfig
from mflag.data.manifest import Prepared
from mflag.downstream.classification_report import build_plots, build_report
from mflag.downstream.examples import choose_examples
from mflag.runtime.atomic_write import atomic_write, write_json, write_text


def write_results(
    config: EvaluateConfig, out: Path, prepared: Prepared, results: dict[str, Any]
) -> Path:
    """Write ``plots/``, ``drawn_ids.parquet``, ``report.html`` and at last ``results.json``.

    Returns:
        The report's path.

    Raises:
        InputError: the disk is full or not writable.
    """
    drawn = io.BytesIO()
    results["drawn_ids"].to_parquet(drawn, index=False)
    results = {name: value for name, value in results.items() if name != "drawn_ids"}
    plots = build_plots(results)
    shows_images = results["data"]["dataset"] == "phantom" or config.report.embed_images
    examples = choose_examples(prepared, config.report.examples) if shows_images else []
    report = build_report(results, plots, examples)
    shutil.rmtree(out / "plots", ignore_errors=True)
    for plot in plots.values():
        for suffix, content in (("svg", plot.svg), ("png", plot.png)):
            with atomic_write(out / "plots" / f"{plot.name}.{suffix}") as file:
                file.write(content)
    with atomic_write(out / "drawn_ids.parquet") as file:
        file.write(drawn.getvalue())
    write_text(out / "report.html", report)
    write_json(out / "results.json", results)
    return out / "report.html"
