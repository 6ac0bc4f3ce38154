"""Alignment of image embeddings with rows of a frozen table."""

from collections.abc import Iterator

import torch

from bench.peers.alignment import eager_alignment
from bench.workloads.workload import Workload, dtype_name, dtypes_of, exact_result, loss_call
from mflag.losses import AlignmentLoss

SHAPES = [(128, 768), (1024, 768)]
TEXTS = 20_000


def workloads(device: str) -> Iterator[Workload]:
    """Yield one workload a shape and dtype; the table stays float32."""
    for rows, columns in SHAPES:
        for dtype in dtypes_of(device):
            yield _workload(rows, columns, dtype, device)


def _workload(rows: int, columns: int, dtype: torch.dtype, device: str) -> Workload:
    torch.manual_seed(0)
    z = torch.randn(rows, columns, device=device).to(dtype).requires_grad_()
    table = torch.nn.functional.normalize(torch.randn(TEXTS, columns, device=device))
    index = torch.randint(TEXTS, (rows,), device=device)
    values, size = z.numel(), z.element_size()
    work = Workload(
        "alignment", f"{rows}x{columns}", dtype_name(dtype),
        # z and its row of the table read, the gradient written; dot, two norms, gradient.
        bytes_moved=(2 * size + 4) * values, flops=9 * values,
        exact=exact_result(lambda x: eager_alignment(x, table.double(), index), [z]),
    )  # fmt: skip
    work.add_ours(device, lambda backend: loss_call(AlignmentLoss(1.0, backend), [z], table, index))
    work.add_peer("eager", lambda: loss_call(eager_alignment, [z], table, index))
    return work
