"""The training part of `make gpu`: which programs run with which options, each in its own process.

Rungs at batch 128, 256 and 512; the last rung with the images held on the GPU, streamed, and read
by the torch feed, each against tensors that are there already; the step as one CUDA graph; and
every feed alone. What this version has no key for, and what is not installed, is named.
"""

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BATCHES = (128, 256, 512)
NEEDED = (
    "hydra", "pandas", "pyarrow", "torchvision", "safetensors", "rich", "sklearn", "transformers",
    "PIL",
)  # fmt: skip


@dataclass(frozen=True)
class Planned:
    """One program.

    Attributes:
        name: of the part.
        module: ``bench.train`` or ``bench.feed``.
        options: of its command line, without ``--out``.
        folder: under the results of the GPU; empty is that folder itself.
        key: ``group.name`` of a training key that it sets and that must exist, or None.
    """

    name: str
    module: str
    options: tuple[str, ...]
    folder: str = ""
    key: str | None = None


def plan() -> list[Planned]:
    """Return all parts; the first leaves the train.json that the feeds are compared with."""
    parts = [
        Planned(
            f"ladder, batch {batch}", "bench.train", ("--batch", str(batch)),
            "" if batch == BATCHES[0] else f"batch-{batch}",
        )
        for batch in BATCHES
    ]  # fmt: skip
    for name, setting in (
        ("resident", "feed.resident=true"),
        ("streamed", "feed.resident=false"),
        ("torch", "feed.name=torch"),
    ):
        options = ("--only", "last", "--set", setting)
        key = setting.split("=")[0]
        parts.append(Planned(f"feed {name}", "bench.train", options, f"feed-{name}", key))
    graph = ("--only", "last", "--set", "compute.cuda_graph=true")
    parts.append(Planned("CUDA graph", "bench.train", graph, "cuda-graph", "compute.cuda_graph"))
    parts.append(Planned("feeds alone", "bench.feed", ()))
    return parts


def why_not(
    part: Planned, missing: list[str], has_key: Callable[[str], bool] | None = None
) -> str | None:
    """Return why a part cannot run, or None.

    Args:
        part: of the plan.
        missing: packages that are not installed.
        has_key: whether training has a key; None asks the configuration.
    """
    if missing:
        return f"not installed: {', '.join(missing)}"
    if part.key is not None and not (has_key or _has_key)(part.key):
        return f"there is no {part.key}"
    return None


def command(part: Planned, out: Path, work: Path) -> list[str]:
    """Return what is typed: on the GPU, results under ``out``, data kept in ``work``."""
    folder = out / part.folder if part.folder else out
    options = ["--device", "cuda", "--out", str(folder), *part.options]
    if part.module == "bench.train":
        options += ["--work", str(work)]
    return [sys.executable, "-m", part.module, *options]


def run_plan(
    out: Path, work: Path, root: Path, environment: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Run every part; one that fails is named, and the rest goes on.

    Args:
        out: folder of the GPU's results.
        work: where generated data is kept between the parts.
        root: the checkout.
        environment: of the processes.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    found = []
    for part in plan():
        reason = why_not(part, missing)
        if reason is None:
            line = command(part, out, work)
            done = subprocess.run(line, cwd=root, env=dict(environment))
            reason = None if done.returncode == 0 else f"exit code {done.returncode}"
        result = reason if reason is not None else "written"
        found.append({"part": part.name, "ran": reason is None, "summary": result})
    return found


def _has_key(key: str) -> bool:
    """Whether the training configuration has ``group.name``."""
    group, name = key.split(".")
    config = importlib.import_module("mflag.config.train").TrainConfig()
    return hasattr(getattr(config, group, None), name)
