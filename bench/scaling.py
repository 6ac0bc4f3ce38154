"""Training on 1, 2, … gloo processes of one machine: images a second, and against one process.

    python -m bench.scaling --out bench/results/cpu

Every process has one thread and the same batch, so two processes compute twice as much. Runs are
taken in turns; a figure is the median over the logging points of all turns, the first left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.machine import command_line, describe_machine, describe_versions
from mflag.runtime.atomic_write import write_json

FORMAT = 1
EVERY = 2  # steps between two logging points


def run_once(data: Path, out: Path, processes: int, given: argparse.Namespace) -> list[float]:
    """Train some steps; returns images a second of all processes together at each logging point."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [
        sys.executable, *(launch if processes > 1 else []), "-m", "mflag.train",
        "preset=recommended", f"data.path={data}", f"output_dir={out}", f"model.arch={given.arch}",
        f"train.image_size={given.image_size}", f"train.batch_size={given.batch_size}",
        f"train.epochs={processes}", "compute.device=cpu", "compute.threads=1",
        f"log.every={EVERY}", "log.tensorboard=false", "optim.warmup_epochs=0",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["images_per_second"] for line in lines[1:]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("bench/results/cpu"))
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=8, help="of a process")
    parser.add_argument("--studies", type=int, default=120)
    parser.add_argument("--turns", type=int, default=2)
    given = parser.parse_args()
    rates: dict[int, list[float]] = {count: [] for count in given.processes}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        prepare = ["-m", "mflag.prepare", "dataset=phantom", f"dataset.size={given.studies}"]
        subprocess.run([sys.executable, *prepare, f"out={data}"], check=True, capture_output=True)
        for turn in range(given.turns):
            for count in given.processes:
                rates[count] += run_once(data, Path(folder, f"{turn}-{count}"), count, given)
                print(
                    f"{count} processes: {statistics.median(rates[count]):.2f} images/s", flush=True
                )
    medians = {count: statistics.median(values) for count, values in rates.items()}
    one = medians[min(medians)] / min(medians)
    rows: list[dict[str, Any]] = [
        {
            "processes": count,
            "images_per_second": medians[count],
            "low": min(values),
            "high": max(values),
            "points": len(values),
            "efficiency": medians[count] / (count * one),
        }
        for count, values in rates.items()
    ]
    content = {
        "format": FORMAT,
        "command": command_line("bench.scaling"),
        "machine": describe_machine("cpu"),
        "versions": describe_versions(),
        "arch": given.arch,
        "image_size": given.image_size,
        "batch_size": given.batch_size,
        "rows": rows,
    }
    write_json(given.out / "scaling.json", content)
    print("written:", given.out / "scaling.json")


if __name__ == "__main__":
    main()
