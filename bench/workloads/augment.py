"""Augmentation of a batch of grey images."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.peers.installed import installed
from bench.workloads.workload import Call, Workload, dtype_name, dtypes_of

BATCH, SIDE, SIZE = 32, 256, 224
MEAN, STD = 0.5, 0.25


def workloads(device: str) -> Iterator[Workload]:
    """Yield the batch in each dtype."""
    for dtype in dtypes_of(device):
        yield _workload(dtype, device)


def _workload(dtype: torch.dtype, device: str) -> Workload:
    torch.manual_seed(0)
    images = torch.randint(256, (BATCH, 1, SIDE, SIDE), dtype=torch.uint8, device=device)
    parameters = _parameters(device)
    pixels = BATCH * SIZE * SIZE
    work = Workload(
        "augment", f"{BATCH}x{SIDE}-{SIZE}", dtype_name(dtype),
        # Each source byte read once, three channels written; 8 for the place, 8 for the value.
        bytes_moved=images.numel() + 3 * dtype.itemsize * pixels, flops=24 * pixels,
    )  # fmt: skip

    def ours(backend: str) -> Call:
        op = installed("mflag.ops.augment", "augment_images")

        def run() -> list[Tensor]:
            return [
                op(images, *parameters, size=SIZE, mean=MEAN, std=STD, dtype=dtype,
                   backend=backend)
            ]  # fmt: skip

        return Call(_with_draw(run) if device == "cpu" else run, result=run)

    work.add_ours(device, ours)
    if dtype == torch.float32:
        for name, pictures in _as_torchvision_takes_them(images).items():
            work.add_peer(name, lambda name=name, pictures=pictures: _peer(name, pictures))  # type: ignore[misc]
    return work


def _with_draw(run: Callable[[], object]) -> Callable[[], object]:
    """The peers draw their parameters in every call, so ours does too: as the training does."""
    from mflag.config.feed import AugmentConfig
    from mflag.data.augment import draw_parameters

    config, rows = AugmentConfig(), np.arange(BATCH)

    def drawn() -> object:
        draw_parameters(config, 0, 0, rows)
        return run()

    return drawn


def _as_torchvision_takes_them(images: Tensor) -> dict[str, Any]:
    """Decoded pictures for the transforms of one sample; they stay on the host."""
    found: dict[str, Any] = {"torchvision_batched": images, "torchvision_pil": []}
    with contextlib.suppress(ImportError):  # without PIL that peer is skipped
        from PIL import Image

        found["torchvision_pil"] = [Image.fromarray(image.numpy()) for image in images[:, 0].cpu()]
    return found


def _peer(name: str, pictures: Any) -> Call:
    augment = installed("bench.peers.augment", name)
    return Call(lambda: augment(pictures, SIZE))


def _parameters(device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Crops of 60 to 100 % of the side, rotations up to 10°, factors within 20 %."""
    side = 0.6 + 0.4 * torch.rand(BATCH)
    angle = torch.deg2rad(20 * torch.rand(BATCH) - 10)
    shift = (1 - side)[:, None] * (2 * torch.rand(BATCH, 2) - 1)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(BATCH, 2, 2)
    theta = torch.cat([side[:, None, None] * turn, shift[:, :, None]], 2)
    factors = 0.8 + 0.4 * torch.rand(2, BATCH)
    return theta.to(device), factors[0].to(device), factors[1].to(device)
