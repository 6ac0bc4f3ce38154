"""Barlow Twins of two views."""

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.peers.barlow import barlow_twins
from bench.peers.installed import installed
from bench.workloads.workload import Workload, dtype_name, dtypes_of, exact_result, loss_call
from mflag.ops import barlow_twins_loss

SHAPES = [(128, 2048), (1024, 2048)]


def workloads(device: str) -> Iterator[Workload]:
    """Yield one workload a shape and dtype."""
    for rows, columns in SHAPES:
        for dtype in dtypes_of(device):
            yield _workload(rows, columns, dtype, device)


def two_views(rows: int, columns: int, dtype: torch.dtype, device: str) -> list[Tensor]:
    """Return two views that share half of their variance."""
    torch.manual_seed(0)
    shared = torch.randn(rows, columns, device=device)
    return [
        (shared + torch.randn(rows, columns, device=device)).to(dtype).requires_grad_()
        for _ in range(2)
    ]


def _workload(rows: int, columns: int, dtype: torch.dtype, device: str) -> Workload:
    views = two_views(rows, columns, dtype, device)
    moved, gram = views[0].element_size() * views[0].numel(), rows * rows * columns
    work = Workload(
        "barlow_twins", f"{rows}x{columns}", dtype_name(dtype),
        # Two symmetric Grams, two products; both views read twice, both gradients written.
        bytes_moved=6 * moved + 4 * 4 * rows**2, flops=6 * gram,
        exact=exact_result(barlow_twins, views),
    )  # fmt: skip
    work.add_ours(
        device,
        lambda backend: loss_call(lambda a, b: barlow_twins_loss(a, b, backend=backend), views),
    )
    work.add_peer(
        "lightly", lambda: loss_call(installed("lightly.loss", "BarlowTwinsLoss")(), views)
    )
    work.add_peer("solo_form", lambda: loss_call(barlow_twins, views))
    return work
