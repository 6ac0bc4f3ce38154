"""Keep the figures of a finished ablation: ``python -m bench.sweep_results runs/sweep``."""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

from mflag.ablation.report import groups, markdown_table, title
from mflag.runtime.atomic_write import write_json

KEPT = (
    "reference", "variants", "data", "interval", "summary", "differences", "missing", "failures",
    "command", "versions", "machine",
)  # fmt: skip
DIGITS = 5


def compact(results: dict[str, Any], commit: str) -> dict[str, Any]:
    """Return what is committed of an ``ablation.json``: no single rows, numbers rounded."""
    kept = {key: results[key] for key in KEPT}
    for name in ("summary", "differences"):
        kept[name] = [{k: _rounded(v) for k, v in row.items()} for row in results[name]]
    return {"format": 1, "commit": commit, **kept}


def sweep_table(content: dict[str, Any]) -> str:
    """A table a score: a row a variant, for each fraction the mean and the paired difference."""
    made = content["data"].get("generated")
    of = f"{made['size']:,} generated studies of dataset.seed={made['seed']}; " if made else ""
    lines = [f"`{content['command']}`, {content['machine']}, at {content['commit']}; {of}"]
    lines[0] += content["interval"]
    for group in groups(content):
        lines += ["", f"**{title(group)}**", "", *markdown_table(content, group)]
    return "\n".join(lines)


def main() -> None:
    """Write bench/results/NAME.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.sweep_results", description=__doc__)
    parser.add_argument("folder", type=Path, help="with ablation.json, of mflag.ablate")
    parser.add_argument("--name", default="sweep")
    parser.add_argument("--commit", help="of the code that trained; the checkout's by default")
    given = parser.parse_args()
    results = json.loads((given.folder / "ablation.json").read_text())
    content = compact(results, given.commit or _checked_out())
    write_json(Path("bench/results") / f"{given.name}.json", content)


def _rounded(value: Any) -> Any:
    return round(value, DIGITS) if isinstance(value, float) else value


def _checked_out() -> str:
    words = ["git", "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
