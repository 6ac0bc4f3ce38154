"""Memory of one step at the paper's batch of 1,024, whole and in micro-batches.

    python -m bench.micro_batch_memory --out bench/results

Each case is a process of its own: a peak of resident memory never falls.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mflag.config.compute import ComputeConfig
from mflag.config.feed import AugmentConfig
from mflag.config.loss import LossConfig
from mflag.config.optim import OptimConfig
from mflag.config.train import TrainConfig
from mflag.data.augment import draw_parameters
from mflag.data.feeds import Batch
from mflag.models.encoder import build_encoder
from mflag.models.encoder_file import EMBEDDING_DIM
from mflag.models.grey_stem import find_grey_stem, to_one_channel
from mflag.runtime.atomic_write import write_json
from mflag.runtime.device import choose_compute
from mflag.training.model import PretrainingLoss
from mflag.training.optimizer import build_optimizer
from mflag.training.step import TrainingStep

SIZES = (None, 256, 128, 64, 32)


def measure(arch: str, image_size: int, batch_size: int, micro: int | None) -> dict[str, Any]:
    """Take two steps; memory over what the process held before them."""
    compute = choose_compute(ComputeConfig(device="cpu", precision="bf16"))
    config = TrainConfig()
    config.train.image_size, config.train.micro_batch_size = image_size, micro
    encoder = to_one_channel(build_encoder(arch)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    table = nn.functional.normalize(torch.randn(batch_size, 128)).half()
    loss = PretrainingLoss(LossConfig(), table, nn.Linear(EMBEDDING_DIM[arch], 128))
    modules = [encoder.train(), loss.train()]
    optimizer = build_optimizer(
        modules, OptimConfig(name="lars"), batch_size, grey_stem=find_grey_stem(encoder)
    )
    step = TrainingStep(encoder, loss, optimizer, compute, config, has_gaps=False)
    rows = torch.arange(batch_size)
    side = 2 * image_size
    images = torch.randint(0, 256, (batch_size, 1, side, side), dtype=torch.uint8)
    before = _peak_bytes()
    for number in range(2):
        began = time.perf_counter()
        drawn = draw_parameters(AugmentConfig(), 0, number, rows.numpy())
        step.run(Batch(images, rows), drawn, rows, number)
    seconds = time.perf_counter() - began
    return {
        "micro_batch_size": micro,
        "step_bytes": _peak_bytes() - before,
        "peak_bytes": _peak_bytes(),
        "second_step_s": round(seconds, 2),
    }


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # Linux gives KiB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--case", type=int, help="one micro-batch in this process; 0: whole")
    given = parser.parse_args()
    if given.case is not None:
        found = measure(given.arch, given.image_size, given.batch_size, given.case or None)
        print(json.dumps(found))
        return
    cases = []
    for size in SIZES:
        command = [sys.executable, "-m", "bench.micro_batch_memory", f"--case={size or 0}"]
        command += [f"--arch={given.arch}", f"--image-size={given.image_size}"]
        command += [f"--batch-size={given.batch_size}"]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        cases.append(json.loads(ran.stdout.splitlines()[-1]))
        print(cases[-1], flush=True)
    content = {
        "arch": given.arch,
        "image_size": given.image_size,
        "batch_size": given.batch_size,
        "precision": "bf16",
        "device": "cpu",
        "torch": torch.__version__,
        "cases": cases,
    }
    write_json(given.out / "micro_batch_memory.json", content)


if __name__ == "__main__":
    main()
