"""Every op once on every GPU backend, small and ragged: for compute-sanitizer, which is slow.

A program of its own: ``compute-sanitizer python -m tests.gpu.sanitize``.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial

# The caching allocator's large blocks would hide a read past the end of a tensor.
os.environ["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"

import torch
from torch import Tensor

import mflag
from mflag import ops
from mflag.ops.backend import NoKernelError
from mflag.optim import LARS

NORMS = ("none", "center", "sample", "feature", "standardize")
SHAPES = [(1, 40), (5, 37), (130, 140), (300, 64)]


def calls(backend: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Name and call of every op."""
    for dtype in (torch.float32, torch.bfloat16):
        for shape in SHAPES:
            z, other = (torch.randn(shape, device="cuda").to(dtype) for _ in range(2))
            table = torch.randn(50, shape[1], device="cuda")
            index = torch.randint(50, (shape[0],), device="cuda")
            losses = {
                f"orthogonality {norm}": partial(ops.orthogonality_loss, norm=norm)
                for norm in NORMS
            }
            losses["barlow_twins"] = partial(ops.barlow_twins_loss, z_b=other)
            losses["alignment"] = partial(ops.alignment_loss, z_t=table, index=index)
            for name, loss in losses.items():
                yield f"{name} {shape} {dtype}", partial(backward, loss, z, backend)
    for preset in ("timm", "fair", "lamb_paper", "paper2017"):
        yield f"lars {preset}", partial(lars_steps, preset, backend)
    yield "augment", partial(augment, backend)


def backward(loss: Callable[..., Tensor], z: Tensor, backend: str) -> None:
    """The value and its gradient."""
    loss(z.clone().requires_grad_(), backend=backend).backward()


def lars_steps(preset: str, backend: str) -> None:
    """Two steps of tensors whose sizes are no multiple of anything."""
    weights = [torch.randn(size, device="cuda").requires_grad_() for size in (1, 7, 1000, 70001)]
    optimizer = LARS.preset(preset, weights, lr=0.1, weight_decay=1e-3, backend=backend)
    for _ in range(2):
        for weight in weights:
            weight.grad = torch.randn_like(weight)
        optimizer.step()


def augment(backend: str) -> None:
    """Images that are turned out of their frame."""
    images = torch.randint(256, (3, 1, 45, 37), dtype=torch.uint8, device="cuda")
    theta = torch.tensor([[0.9, -0.5, 0.2], [0.5, 0.9, -0.3]], device="cuda").repeat(3, 1, 1)
    factor = torch.full((3,), 1.1, device="cuda")
    for channels in (1, 3):
        ops.augment_images(
            images, theta, factor, factor, size=29, mean=0.5, std=0.25, channels=channels,
            backend=backend,
        )  # fmt: skip


def main() -> None:
    """Run all; one line each."""
    torch.manual_seed(0)
    for backend in ("triton", "cuda"):
        if mflag.backends()[backend] is not True:
            print(f"{backend}: {mflag.backends()[backend]}")
            continue
        for name, call in calls(backend):
            try:
                call()
            except NoKernelError as error:
                print(f"{backend} {name}: {error}")
            else:
                torch.cuda.synchronize()
                print(f"{backend} {name}: done")


if __name__ == "__main__":
    main()
