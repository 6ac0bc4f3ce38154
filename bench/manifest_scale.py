"""Start-up of training, memory and reading speed by the rows of the manifest.

    python -m bench.manifest_scale --rows 1000000 --out bench/results/cpu

Prepared folders are composed: reports of five sentences, a kept text table of random vectors (to
make one is long, and done once), images that are holes of a sparse file, so the disk is not
measured. Every size is measured in a process of its own that builds a run as training does, then
reads batches by both feeds. Then `prepare` runs with a `load` that returns a constant
image: what is left is its own work. Writes manifest_scale.json.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.console import say
from bench.machine import command_line, describe_machine, describe_versions
from bench.manifest_folder import make_folder
from mflag.runtime.atomic_write import write_json

SMALL = 10_000


def main() -> None:
    """Measure a small and a large manifest; write DIR/manifest_scale.json."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.manifest_scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=500, help="batches of 128 a feed")
    parser.add_argument("--prepare-rows", type=int, default=20_000, help="studies of prepare")
    parser.add_argument("--work", type=Path, help="keep the folders here for the next call")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    machine = describe_machine("cpu")
    work = given.work or Path(tempfile.mkdtemp(prefix="manifest-scale-"))
    try:
        measured = [measure(work, rows, given.steps) for rows in (SMALL, given.rows)]
        prepared = [
            _child("prepare", str(work), str(rows))
            for rows in (given.prepare_rows // 10, given.prepare_rows)
        ]
    finally:
        if given.work is None:
            shutil.rmtree(work)
    content = {
        "format": 1,
        "device": machine,
        "versions": describe_versions(),
        "command": command_line("bench.manifest_scale"),
        "rows": measured,
        "prepare": prepared,
    }
    write_json(given.out / "manifest_scale.json", content)
    say(f"written: {given.out / 'manifest_scale.json'}")


def measure(work: Path, rows: int, steps: int) -> dict[str, Any]:
    """Make the folder when it is not there, then start and read."""
    folder = work / str(rows)
    if not (folder / "prepared.json").is_file():
        say(f"composing {rows:,} rows")
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder, rows)
    say(f"measuring {rows:,} rows")
    return {"rows": rows, **_child("start", str(folder), str(steps))}


def _child(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.manifest_start", *arguments]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
