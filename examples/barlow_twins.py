"""Barlow Twins as in lightly's example, once with lightly's loss and once with ours.

python examples/barlow_twins.py --steps 20

The one line that changes is the import:
    from lightly.loss import BarlowTwinsLoss
    from mflag.losses import BarlowTwinsLoss

In float64 the two curves are equal. In float32 they part after some steps, as lightly's own curve
does when one weight changes in its last digits: BatchNorm of a small batch amplifies rounding.
"""

import argparse
import time

import lightly.loss
import torch
import torchvision
from lightly.models.modules import BarlowTwinsProjectionHead
from torch import Tensor, nn
from torchvision.transforms import v2

import mflag.losses
from mflag.data.phantom import generate_study


class BarlowTwins(nn.Module):
    """Backbone and projection head."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.backbone = torchvision.models.resnet18()
        self.backbone.fc = nn.Identity()
        self.head = BarlowTwinsProjectionHead(512, dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, dim)."""
        return self.head(self.backbone(x))


def train(criterion: nn.Module, given: argparse.Namespace) -> tuple[list[float], float]:
    """Return the loss of each step, and the seconds spent in the loss, forward and backward."""
    torch.manual_seed(0)
    images = torch.stack([torch.from_numpy(generate_study(0, k).image) for k in range(given.batch)])
    images = images[:, None].expand(-1, 3, -1, -1)
    view = v2.Compose(
        [
            v2.RandomResizedCrop(64, (0.4, 1.0)),
            v2.ColorJitter(0.4, 0.4),
            v2.ToDtype(torch.float32, True),
        ]
    )
    dtype = getattr(torch, given.dtype)
    model = BarlowTwins(given.dim).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=3e-5, momentum=0.9)
    losses, seconds = [], 0.0
    for _ in range(given.steps):
        z0, z1 = (model(view(images).to(dtype)) for _ in range(2))
        leaves = [z.detach().requires_grad_() for z in (z0, z1)]
        begin = time.perf_counter()
        loss = criterion(*leaves)
        loss.backward()
        seconds += time.perf_counter() - begin
        torch.autograd.backward([z0, z1], [leaf.grad for leaf in leaves])
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses, seconds


def main() -> None:
    """Train twice and print both curves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--dim", type=int, default=2048, help="of the projection")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    given = parser.parse_args()
    theirs, their_seconds = train(lightly.loss.BarlowTwinsLoss(), given)
    ours, our_seconds = train(mflag.losses.BarlowTwinsLoss(), given)
    for step, (a, b) in enumerate(zip(theirs, ours, strict=True), 1):
        print(f"step {step:3}  lightly {a:12.4f}  mflag {b:12.4f}")
    print(f"in the loss: lightly {their_seconds:.3f} s, mflag {our_seconds:.3f} s")


if __name__ == "__main__":
    main()
