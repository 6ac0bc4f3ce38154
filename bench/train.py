"""Time whole training loops, from the published one to ``preset=recommended``, in one run.

    python -m bench.train --device cpu --out bench/results/cpu
    python -m bench.train --device cuda --batch 128

A rung is one change. The first is the published loop, written anew from its facts; beside it stands
the same loop at its best settings. The last is what ``python -m mflag.train preset=recommended``
runs: its configuration, its step, its feed. All take turns. Writes train.json, train.md and, where
matplotlib is, train.svg. The text encoder has BERT-base's size and random weights.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from bench.console import say
from bench.ladder.climb import climb, mfu
from bench.ladder.rungs import rungs
from bench.ladder.setting import make_setting
from bench.ladder.targets import judge, line
from bench.machine import command_line, describe_machine, describe_versions
from bench.rates import measure_bf16_products, measure_rates
from bench.train_report import document, draw
from mflag.runtime.atomic_write import write_json, write_text
from mflag.runtime.device import has_fast_bf16

LAST = "last"
BATCH = {"cpu": 8, "cuda": 128}
TURNS = {"cpu": 5, "cuda": 5}
TURN_S = {"cpu": 1.0, "cuda": 2.0}
FEED_TURNS = {"cpu": 20, "cuda": 10}


def main() -> None:
    """Climb, print the table and the targets, write DIR/train.json."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--batch", type=int, help="images a step; default: 8, cuda 128")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--turns", type=int, help="of every rung; default: 5")
    parser.add_argument("--feed-turns", type=int, help="beside synthetic tensors; default: 20")
    parser.add_argument("--only", help="comma between names of rungs, or last; first: yardstick")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of our rungs")
    parser.add_argument("--studies", type=int, help="generated; default: 160, cuda 4096")
    parser.add_argument("--layers", type=int, default=12, help="of the text encoder; 12 is BERT")
    parser.add_argument("--work", type=Path, help="keep data and text encoder for the next call")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device is here; use --device cpu")
    names = [LAST, *(rung.name for rung in rungs(given.device)[0])]
    if unknown := [name for name in _listed(given.only) if name not in names]:
        parser.error(f"--only: {unknown[0]!r} is unknown; choose from {', '.join(names)}")
    given.out.mkdir(parents=True, exist_ok=True)  # before minutes of work, not after
    work = given.work or Path(tempfile.mkdtemp(prefix="bench-train-"))
    try:
        content = run(given, work)
    finally:
        if given.work is None:
            shutil.rmtree(work)
    for path in write(content, given.out):
        say(f"written: {path}")


def run(given: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Measure on a device; return what train.json holds."""
    device, begin = given.device, time.perf_counter()
    machine = describe_machine(device) | {"bf16": has_fast_bf16(torch.device(device))}
    rates = measure_rates(device) | measure_bf16_products(device)
    steps, skipped = rungs(device)
    if only := _listed(given.only):
        steps = [r for r in steps if r.name in only or (LAST in only and r is steps[-1])]
    batch_size = given.batch or BATCH[device]
    setting = make_setting(
        work, device, batch_size,
        image_size=given.image_size, studies=given.studies, layers=given.layers,
        overrides=tuple(given.set),
    )  # fmt: skip
    turns, feed_turns = given.turns or TURNS[device], given.feed_turns or FEED_TURNS[device]
    climbed = climb(steps, setting, turns=turns, turn_s=TURN_S[device], feed_turns=feed_turns)
    skipped += climbed.pop("skipped")
    content: dict[str, Any] = {
        "format": 1,
        "device": machine,
        "versions": describe_versions(),
        "command": command_line("bench.train"),
        "batch_size": batch_size,
        "image_size": given.image_size,
        "text": {
            "weights": "random",
            "parameters": setting.text.parameters,
            "mean_tokens": setting.text.mean_tokens,
        },
        "rates": rates,
        **climbed,
        "skipped": skipped,
    }
    content |= {"mfu": mfu(content), "targets": judge(content)}
    content["seconds"] = time.perf_counter() - begin
    for row in (*content["peers"], *content["rungs"]):
        say(f"{row['name']:24} {row['images_per_second']:9.2f} images/s {row['step_ms']:9.1f} ms")
    for verdict in content["targets"]:
        say(line(verdict))
    return content


def write(content: dict[str, Any], folder: Path) -> list[Path]:
    """Write train.json, train.md and the plot; return their paths."""
    write_json(folder / "train.json", content)
    write_text(folder / "train.md", document(content))
    paths = [folder / "train.json", folder / "train.md"]
    if content["rungs"] and draw(content, folder / "train.svg"):
        paths.append(folder / "train.svg")
    return paths


def _listed(names: str | None) -> list[str]:
    return names.split(",") if names else []


if __name__ == "__main__":
    main()
