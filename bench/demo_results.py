"""Keep the figures of ``make demo``: ``python -m bench.demo_results runs/demo``."""

import argparse
import json
from pathlib import Path
from typing import Any

from mflag.runtime.atomic_write import write_json

KEPT = ("summary", "differences", "encoders", "data", "options", "notes", "versions", "machine")
RUNS = ("mflag", "align_only")


def main() -> None:
    """Write bench/results/demo.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.demo_results", description=__doc__)
    parser.add_argument("demo", type=Path, nargs="?", default=Path("runs/demo"))
    parser.add_argument("--out", type=Path, default=Path("bench/results/demo.json"))
    given = parser.parse_args()
    results = json.loads((given.demo / "evaluation" / "results.json").read_text())
    segmentation = json.loads((given.demo / "segmentation" / "results.json").read_text())
    training = {name: _last_line(given.demo / name / "metrics.jsonl") for name in RUNS}
    content = {"format": 1, "command": "make demo", **{key: results[key] for key in KEPT}}
    masks = {"command": segmentation["command"], "summary": segmentation["summary"]}
    write_json(given.out, {**content, "segmentation": masks, "training": training})


def _last_line(path: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(path.read_text().splitlines()[-1])
    return figures


if __name__ == "__main__":
    main()
