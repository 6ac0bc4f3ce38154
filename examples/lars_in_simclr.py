"""SimCLR as in lightly's example, once with timm's LARS and once with ours.

python examples/lars_in_simclr.py --steps 10

The one line that changes is the optimizer:
    timm.optim.Lars(parameters, lr=0.3, momentum=0.9, weight_decay=1e-6)
    LARS.preset("timm", parameters, lr=0.3, weight_decay=1e-6)
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import timm.optim
import torch
import torchvision
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from torch import nn
from torchvision.transforms import v2

from mflag.data.phantom import generate_study
from mflag.optim import LARS


def train(build: Callable[[Any], torch.optim.Optimizer], steps: int) -> tuple[list[float], float]:
    """Return the loss of each step, and the seconds spent in the optimizer."""
    torch.manual_seed(0)
    images = torch.stack([torch.from_numpy(generate_study(0, k).image) for k in range(32)])
    images = images[:, None].expand(-1, 3, -1, -1)
    view = v2.Compose(
        [
            v2.RandomResizedCrop(64, (0.4, 1.0)),
            v2.ColorJitter(0.4, 0.4),
            v2.ToDtype(torch.float32, True),
        ]
    )
    backbone = torchvision.models.resnet18()
    backbone.fc = nn.Identity()
    model = nn.Sequential(backbone, SimCLRProjectionHead(512, 512, 128))
    criterion, optimizer = NTXentLoss(temperature=0.5), build(model.parameters())
    losses, seconds = [], 0.0
    for _ in range(steps):
        loss = criterion(model(view(images)), model(view(images)))
        loss.backward()
        begin = time.perf_counter()
        optimizer.step()
        seconds += time.perf_counter() - begin
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses, seconds


def main() -> None:
    """Train twice and print both curves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10)
    steps = parser.parse_args().steps
    theirs, their_seconds = train(
        lambda p: timm.optim.Lars(p, lr=0.3, momentum=0.9, weight_decay=1e-6), steps
    )
    ours, our_seconds = train(lambda p: LARS.preset("timm", p, lr=0.3, weight_decay=1e-6), steps)
    for step, (a, b) in enumerate(zip(theirs, ours, strict=True), 1):
        print(f"step {step:3}  timm {a:10.5f}  mflag {b:10.5f}")
    print(f"in the optimizer: timm {their_seconds:.3f} s, mflag {our_seconds:.3f} s")


if __name__ == "__main__":
    main()
