"""``python -m mflag.train`` on several ranks, and faults at a step of one of them."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from mflag import cli
from mflag.config.train import TrainConfig
from mflag.data.feeds import BatchReader
from mflag.train import main
from mflag.training.step import TrainingStep
from tests.distributed.processes import Processes

QUICK = (
    "train.image_size=32", "train.epochs=2", "log.every=1", "log.tensorboard=false",
    "compute.device=cpu", "compute.precision=fp32", "compute.threads=1", "optim=lars",
)  # fmt: skip


def train(rank, overrides, faults=None):
    """Train; ``faults`` by rank: (step from 0, what happens before it)."""
    fault = (faults or {}).get(rank)
    if fault is not None:
        _plant(*fault)
    sys.argv = ["train", *QUICK, *overrides, *(faults or {}).get(f"overrides of {rank}", ())]
    cli.run(main, "train", TrainConfig)


def start(count, folder, *overrides, faults=None):
    """Start the program on ``count`` ranks."""
    return Processes(train, count, Path(folder), overrides, faults)


def figures(folder):
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def _plant(step, kind):
    if kind == "gets no images":
        setattr(BatchReader, "positions", _hang_at(step + 2, BatchReader.positions))  # noqa: B010
        return
    run = TrainingStep.run

    def faulty(self, batch, parameters, text_rows, now):
        if now == step:
            _FAULTS[kind]()
        return run(self, batch, parameters, text_rows, now)

    setattr(TrainingStep, "run", faulty)  # noqa: B010


def _hang_at(step, read):
    return lambda self, now: time.sleep(1000) if now == step else read(self, now)


def _raise():
    raise ValueError("a fault was planted")


_FAULTS = {
    "raises": _raise,
    "hangs": lambda: time.sleep(1000),
    "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "gets SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "gets SIGINT": lambda: os.kill(os.getpid(), signal.SIGINT),
}
