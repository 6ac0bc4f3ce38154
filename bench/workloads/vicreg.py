"""VICReg of two views."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from bench.peers.barlow import vicreg
from bench.peers.installed import installed
from bench.workloads.barlow_twins import SHAPES, two_views
from bench.workloads.workload import Workload, dtype_name, dtypes_of, exact_result, loss_call


def workloads(device: str) -> Iterator[Workload]:
    """Yield one workload a shape and dtype."""
    for rows, columns in SHAPES:
        for dtype in dtypes_of(device):
            yield _workload(rows, columns, dtype, device)


def _workload(rows: int, columns: int, dtype: torch.dtype, device: str) -> Workload:
    views = two_views(rows, columns, dtype, device)
    moved, gram = views[0].element_size() * views[0].numel(), rows * rows * columns
    work = Workload(
        "vicreg", f"{rows}x{columns}", dtype_name(dtype),
        bytes_moved=6 * moved + 4 * 4 * rows**2, flops=6 * gram,
        forward_bytes=2 * moved, forward_flops=2 * gram,
        exact=exact_result(lambda a, b: vicreg(a, b, 12.5), views),
    )  # fmt: skip
    work.add_ours(device, lambda backend: loss_call(_ours(backend), views))
    work.add_peer("lightly", lambda: loss_call(installed("lightly.loss", "VICRegLoss")(), views))
    work.add_peer("solo_form", lambda: loss_call(vicreg, views, same_formula=False))
    return work


def _ours(backend: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The class has no ``backend``: its covariance is the op's, chosen by the environment."""
    loss: Any = installed("mflag.losses", "VICRegLoss")()

    def run(z_a: Tensor, z_b: Tensor) -> Tensor:
        before = os.environ.get("MFLAG_BACKEND")
        os.environ["MFLAG_BACKEND"] = backend
        try:
            return loss(z_a, z_b)
        finally:
            del os.environ["MFLAG_BACKEND"]
            if before is not None:
                os.environ["MFLAG_BACKEND"] = before

    return run
