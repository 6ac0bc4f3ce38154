"""Time each feed alone, on JPEG files of three sizes, cold and warm, against what training takes.

    python -m bench.feed --device cpu --out bench/results/cpu

`cache` and `torch` read the prepared 256² images; `dali` and the peers decode the JPEG files. Cold
is the first pass after the system was told to forget the files. Consumption is what the last rung
of bench.train takes, from train.json in the same folder or from --consumption. Writes feed.json
and feed.md.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.console import say
from bench.feed_table import feed_table
from bench.feeding.files import forget, make_files
from bench.feeding.readers import PEERS, Asked, Reader, readers
from bench.machine import command_line, describe_machine, describe_versions
from mflag.errors import InputError
from mflag.runtime.atomic_write import write_json, write_text

SIDES = (256, 1024, 2500)
COUNT = {"cpu": 256, "cuda": 2048}
BATCH = {"cpu": 32, "cuda": 128}


def main() -> None:
    """Measure, print, write DIR/feed.json and DIR/feed.md."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.feed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--sides", default=",".join(map(str, SIDES)), help="pixels; %(default)s")
    parser.add_argument("--files", type=int, help="of each size; default: 256, cuda 2048")
    parser.add_argument("--batch", type=int, help="default: 32, cuda 128")
    parser.add_argument("--workers", type=int, help="default: torch's threads")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each warm measurement")
    parser.add_argument("--consumption", type=float, help="images/s of training")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device is here; use --device cpu")
    given.out.mkdir(parents=True, exist_ok=True)  # before minutes of work, not after
    content = run(given)
    write_json(given.out / "feed.json", content)
    write_text(given.out / "feed.md", f"# Feeds alone\n\n{feed_table(content)}\n")
    say(f"written: {given.out / 'feed.json'}")


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Measure every reader on every size; return what feed.json holds."""
    machine, begin = describe_machine(given.device), time.perf_counter()
    count = given.files or COUNT[given.device]
    workers = torch.get_num_threads() if given.workers is None else given.workers
    rows: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    prepared: list[dict[str, Any]] = []
    for side in map(int, given.sides.split(",")):
        with tempfile.TemporaryDirectory(prefix="bench-feed-") as folder:
            files = make_files(Path(folder), side, count)
            about = {"side": side, "mean_bytes": files.mean_bytes}
            prepared.append(about | {"images_per_second": files.prepare_images_per_second})
            asked = Asked(
                files, min(given.batch or BATCH[given.device], count), 224, workers,
                torch.device(given.device), Path(folder),
            )  # fmt: skip
            rows += measure_all(asked, given.seconds, skipped)
    return {
        "format": 1,
        "device": machine,
        "versions": describe_versions(),
        "command": command_line("bench.feed"),
        "files": count,
        "batch_size": given.batch or BATCH[given.device],
        "workers": workers,
        "rows": rows,
        "prepare": prepared,
        "consumption": given.consumption or consumption(given.out),
        "skipped": skipped,
        "seconds": time.perf_counter() - begin,
    }


def measure_all(
    asked: Asked, seconds: float, skipped: list[dict[str, str]]
) -> list[dict[str, Any]]:
    """Return a row a reader; one that is not there or does not run is skipped with the reason."""
    rows = []
    for name, build in readers().items():
        try:
            row = measure(build, asked, seconds)
        except (ImportError, InputError, OSError, RuntimeError) as error:
            reason = f"{type(error).__name__}: {error}".split("\n")[0][:300]
            skipped.append({"what": f"{name} {asked.files.side}²", "reason": reason})
            continue
        rows.append({"name": name, "is_peer": name in PEERS, "side": asked.files.side} | row)
        say(
            f"{name:12} {asked.files.side:5}²: cold {row['cold_images_per_second']:9,.0f}, warm "
            f"{row['warm_images_per_second']:9,.0f} images/s"
        )
    return rows


def measure(build: Any, asked: Asked, seconds: float) -> dict[str, Any]:
    """Time one pass after the files were forgotten, then warm batches."""
    reader: Reader = build(asked)  # what it writes or measures at the start is not timed
    reads, batch = reader.reads, asked.batch_size
    reader.close()
    forget(reads)
    begin = time.perf_counter()
    reader = build(asked)
    try:
        passes = len(asked.files.paths) // batch
        _take(reader, passes, asked.device)
        cold = time.perf_counter() - begin
        rates = _warm(reader, batch, seconds, asked.device)
    finally:
        reader.close()
    low, high = np.percentile(rates, (10, 90))
    return {
        "cold_images_per_second": passes * batch / cold,
        "warm_images_per_second": float(np.median(rates)),
        "warm_spread": [float(low), float(high)],
        "parts": len(rates),
    }


def _warm(reader: Reader, batch: int, seconds: float, device: torch.device) -> list[float]:
    """Images/s of ten parts of the time, each of whole batches."""
    rates, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin, taken = time.perf_counter(), 0
        while taken == 0 or time.perf_counter() - begin < seconds / 10:
            taken += _take(reader, 1, device)
        rates.append(taken * batch / (time.perf_counter() - begin))
    return rates


def _take(reader: Reader, count: int, device: torch.device) -> int:
    """Take batches to the device, as the loop does; return how many."""
    for _ in range(count):
        batch = next(reader.batches)
        images = getattr(batch, "images", batch)
        images = images[0] if isinstance(images, list | tuple) else images
        images.to(device, non_blocking=True)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return count


def consumption(folder: Path) -> float | None:
    """Images/s of the last rung of train.json in a folder, or None without one."""
    path = folder / "train.json"
    if not path.is_file():
        return None
    rungs = json.loads(path.read_text())["rungs"]
    return float(rungs[-1]["images_per_second"]) if rungs else None


if __name__ == "__main__":
    main()
