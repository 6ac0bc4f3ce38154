"""Linear probes on real X-rays: ``python -m bench.hannover HANNOVER --demo runs/demo``.

AP against PA, and whether the patient came to intensive care, on the COVID-19 Image Repository of
Hannover Medical School (243 X-rays, 71 patients): by patient, cross-validated, beside random
weights, pixels, and for intensive care the view alone.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mflag.downstream.bootstrap import auc_resamples, interval, patient_weights
from mflag.downstream.scores import class_aucs
from mflag.runtime.atomic_write import write_json

FOLDS, REPEATS = 5, 5
KEPT = ("differences", "data", "options", "encoders", "notes", "versions", "machine")


def compose_table(source: Path) -> pd.DataFrame:
    """Return image, patient and the two labels of each X-ray of ``data.csv``."""
    raw = pd.read_csv(source, dtype={"patient_id": str, "image_id": str})
    return pd.DataFrame(
        {
            "image": raw["image_id"] + ".png",
            "patient": raw["patient_id"],
            "ap": (raw["projection"] == "ap").astype(int),
            "intensive_care": raw["icu_admission_offset"].notna().astype(int),
        }
    )


def view_alone(table: pd.DataFrame, resamples: int) -> dict[str, Any]:
    """Return the AUC for intensive care of the view, without a look at the image."""
    scores, truth = table["ap"].to_numpy(float), table["intensive_care"].to_numpy(float)
    weights = patient_weights(table["patient"].to_numpy(), resamples)
    low, high = interval(auc_resamples(scores, truth, weights))
    value = float(class_aucs(scores[:, None], truth[:, None])[0])
    return {
        "encoder": "view alone", "metric": "auc/intensive_care", "value": value,
        "ci_low": low, "ci_high": high,
    }  # fmt: skip


def measure(hannover: Path, encoders: dict[str, Path], resamples: int = 1000) -> dict[str, Any]:
    """Prepare the images, probe every encoder, and return what is kept.

    Args:
        hannover: folder with ``data.csv`` and ``png/``.
        encoders: files of mflag.train by name.
        resamples: of the patients.
    """
    table = compose_table(hannover / "data.csv")
    named = ",".join(f"{name}:{file.resolve()}" for name, file in encoders.items())
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        table.to_csv(folder / "hannover.csv", index=False)
        _run(
            "mflag.prepare", "dataset=csv", "dataset.text_column=null",
            f"root={hannover.resolve() / 'png'}", f"csv={folder / 'hannover.csv'}",
            f"out={folder / 'data'}",
        )  # fmt: skip
        _run(
            "mflag.evaluate", f"data.path={folder / 'data'}", f"encoders={{{named}}}",
            f"out={folder / 'out'}", f"task.folds={FOLDS}", "fraction=1.0", f"seeds={REPEATS}",
            f"task.resamples={resamples}", "pixels=true", "imagenet=false",
        )  # fmt: skip
        results = json.loads((folder / "out" / "results.json").read_text())
    names = ("encoder", "metric", "value", "ci_low", "ci_high", "sd", "draws", "n_train")
    summary = [
        {name: row[name] for name in names}
        for row in results["summary"]
        if row["metric"].startswith("auc/")
    ]
    positives = {name: int(np.sum(table[name])) for name in ("ap", "intensive_care")}
    return {
        "format": 1,
        "command": "python -m bench.hannover HANNOVER --demo runs/demo",
        "images": len(table),
        "patients": int(table["patient"].nunique()),
        "positives": positives,
        "summary": [*summary, view_alone(table, resamples)],
        **{key: results[key] for key in KEPT},
    }


def hannover_table(content: dict[str, Any]) -> str:
    """A row an encoder, a column a label."""
    labels = {"auc/ap": "AP against PA", "auc/intensive_care": "intensive care"}
    options, positives = content["options"], content["positives"]
    lines = [
        f"`{content['command']}`, {content['machine']}, torch {content['versions']['torch']}; "
        f"{content['images']} images of {content['patients']} patients, {positives['ap']} AP, "
        f"{positives['intensive_care']} of patients who came to intensive care. AUC of all images "
        f"by {options['folds']}-fold cross-validation by patient, mean over {options['seeds']} "
        f"partitions, in brackets the 95 % interval over patients ({options['resamples']} "
        "resamples).",
        "",
        f"| features | {' | '.join(labels.values())} |",
        "| --- | --- | --- |",
    ]
    for name in dict.fromkeys(row["encoder"] for row in content["summary"]):
        cells = [
            next((_cell(r) for r in content["summary"] if (r["encoder"], r["metric"]) == key), "–")
            for key in ((name, metric) for metric in labels)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Write bench/results/hannover.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.hannover", description=__doc__)
    parser.add_argument("hannover", type=Path)
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"))
    parser.add_argument("--out", type=Path, default=Path("bench/results/hannover.json"))
    given = parser.parse_args()
    encoders = {n: given.demo / n / "encoder.safetensors" for n in ("mflag", "align_only")}
    write_json(given.out, measure(given.hannover, encoders))


def _cell(row: dict[str, Any]) -> str:
    return f"{row['value']:.3f} ({row['ci_low']:.3f} to {row['ci_high']:.3f})"


def _run(program: str, *words: str) -> None:
    subprocess.run([sys.executable, "-m", program, *words], check=True)


if __name__ == "__main__":
    main()
