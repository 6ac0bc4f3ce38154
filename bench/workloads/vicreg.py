"""VICReg of two views."""

from collections.abc import Iterator

import torch

from bench.peers.barlow import vicreg
from bench.peers.installed import installed
from bench.workloads.barlow_twins import SHAPES, two_views
from bench.workloads.workload import Workload, dtype_name, dtypes_of, exact_result, loss_call
from mflag.losses import VICRegLoss


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
        exact=exact_result(lambda a, b: vicreg(a, b, 12.5), views),
    )  # fmt: skip
    work.add_ours(device, lambda backend: loss_call(VICRegLoss(backend=backend), views))
    work.add_peer("lightly", lambda: loss_call(installed("lightly.loss", "VICRegLoss")(), views))
    work.add_peer("solo_form", lambda: loss_call(vicreg, views, same_formula=False))
    return work
