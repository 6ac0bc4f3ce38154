"""Time every op and backend beside what people run today, all in one run.

    python -m bench.kernels --device cpu --out bench/results/cpu
    python -m bench.kernels --device cuda --ops orthogonality,lars

A row is one backend of ours beside one peer: forward and backward (or one optimizer step) as it is
called, and the forward alone. Peers that are not installed or do not run here stand in `skipped`.
Writes kernels.json, kernels.md and, where matplotlib is, kernels.svg.
"""

import argparse
import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from bench.console import say, show_table
from bench.kernels_report import document, draw
from bench.machine import command_line, describe_machine, describe_versions
from bench.measure import measure
from bench.rates import measure_rates
from bench.targets import verdict_line, verdicts
from bench.workloads import OPS
from mflag.runtime.atomic_write import write_json, write_text

SECONDS = {"cpu": 5.0, "cuda": 10.0}


def main() -> None:
    """Measure, print a table and the targets, write DIR/kernels.json."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.kernels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench"), help="folder of the results"
    )
    parser.add_argument("--ops", default=",".join(OPS), help="comma between; default: %(default)s")
    parser.add_argument("--seconds", type=float, help="for each op and shape; default: 5, cuda 10")
    given = parser.parse_args()
    names = given.ops.split(",")
    if unknown := [name for name in names if name not in OPS]:
        parser.error(f"--ops: {unknown[0]!r} is unknown; choose from {', '.join(OPS)}")
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device is here; use --device cpu")
    given.out.mkdir(parents=True, exist_ok=True)  # before minutes of work, not after
    content = run(given.device, names, given.seconds or SECONDS[given.device], "bench.kernels")
    for path in write(content, given.out):
        say(f"written: {path}")


def run(device: str, names: list[str], seconds: float, program: str) -> dict[str, Any]:
    """Measure the ops on a device; return what kernels.json holds."""
    machine = describe_machine(device)
    rates = measure_rates(device)
    say(
        f"copy {rates['copy_bytes_per_second'] / 1e9:.1f} GB/s, "
        f"float32 products {rates['float32_flops_per_second'] / 1e9:,.0f} GFLOP/s"
    )
    skipped: list[dict[str, str]] = []
    rows = [row for name in names for row in _rows(name, device, seconds, rates, skipped)]
    content: dict[str, Any] = {
        "format": 2,
        "device": machine,
        "versions": describe_versions(),
        "command": command_line(program),
        "rates": rates,
        "rows": rows,
        "skipped": skipped,
        "targets": verdicts(device, rows, rates),
    }
    show_table(rows)
    for line in skipped:
        say(f"skipped: {line['what']}: {line['reason']}")
    say(repeatability(rows))
    for verdict in content["targets"]:
        if verdict["op"] in names:
            say(verdict_line(verdict))
    return content


def repeatability(rows: list[dict[str, Any]]) -> str:
    """Return one line: whether every backend gave the same bits every time."""
    checked = {(r["op"], r["shape"], r["dtype"], r["backend"]): r["repeated"] for r in rows}
    wrong = [" ".join(key) for key, one in checked.items() if one["distinct"] != 1]
    if wrong:
        return f"FAIL         not the same bits every time: {', '.join(wrong)}"
    runs = max((one["runs"] for one in checked.values()), default=0)
    return f"PASS         the same bits in {runs} runs: {len(checked)} results"


def _rows(
    op: str, device: str, seconds: float, rates: dict[str, float], skipped: list[dict[str, str]]
) -> Iterator[dict[str, Any]]:
    begin, count = time.perf_counter(), 0
    for work in OPS[op](device):
        say(f"{op} {work.shape} {work.dtype}: {', '.join([*work.ours, *work.peers])}")
        what = f"{op} {work.shape} {work.dtype}"
        try:
            rows = list(measure(work, device, seconds, rates))
        except torch.OutOfMemoryError as error:
            rows, work.skipped["all of it"] = [], str(error).split("\n")[0]
        count += len(rows)
        yield from rows
        skipped += [{"what": f"{what} {name}", "reason": r} for name, r in work.skipped.items()]
        del work
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
    say(f"{op}: {count} rows in {time.perf_counter() - begin:.0f} s")


def write(content: dict[str, Any], folder: Path) -> list[Path]:
    """Write kernels.json, kernels.md and the plot; return their paths."""
    write_json(folder / "kernels.json", content)
    write_text(folder / "kernels.md", document(content))
    paths = [folder / "kernels.json", folder / "kernels.md"]
    if content["rows"] and draw(content, folder / "kernels.svg"):
        paths.append(folder / "kernels.svg")
    return paths


if __name__ == "__main__":
    main()
