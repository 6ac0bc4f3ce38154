"""Forward and backward at the latent, in the authors' normalisation, which all peers share."""

from collections.abc import Iterator

import torch

from bench.peers.orthogonality import plain_dual, published
from bench.workloads.workload import Workload, dtype_name, dtypes_of, exact_result, loss_call
from mflag.losses import OrthogonalityLoss

SHAPES = {
    "cpu": [(128, 2048), (512, 2048), (1024, 2048), (4096, 512)],
    "cuda": [(128, 2048), (256, 2048), (512, 2048), (1024, 2048), (4096, 512), (8192, 8192)],
}


def workloads(device: str) -> Iterator[Workload]:
    """Yield one workload a shape and dtype, built when it is asked for."""
    for rows, columns in SHAPES[device]:
        for dtype in dtypes_of(device):
            yield _workload(rows, columns, dtype, device)


def _workload(rows: int, columns: int, dtype: torch.dtype, device: str) -> Workload:
    torch.manual_seed(0)
    z = torch.randn(rows, columns, device=device).relu().to(dtype).requires_grad_()
    least, most, size = min(rows, columns), max(rows, columns), z.element_size()
    # With a symmetric K (or C): B²N for it, 2B²N for K·x; z is read twice, the gradient written.
    gram = least * least * most
    work = Workload(
        "orthogonality", f"{rows}x{columns}", dtype_name(dtype),
        bytes_moved=3 * size * z.numel() + 4 * 2 * least**2, flops=3 * gram,
        unit_bytes=size * z.numel() + 4 * least**2,
        exact=exact_result(published, [z]) if rows < 8192 else None,
    )  # fmt: skip
    work.add_ours(
        device,
        lambda backend: loss_call(OrthogonalityLoss.preset("authors", backend=backend), [z]),
    )
    work.add_peer("published", lambda: loss_call(published, [z]))
    # Compiling is not timed, but takes 15 s each; on the CPU it needs a C++ compiler.
    if device == "cuda" or rows in (128, 1024):
        compiled = torch.compile(published, dynamic=False)
        work.add_peer("published_compiled", lambda: loss_call(compiled, [z]))
    if rows <= columns:
        work.add_peer("plain_dual", lambda: loss_call(plain_dual, [z]))
    if "triton" in work.ours:
        work.configuration["triton"] = _triton_row(rows)
    return work


def _triton_row(rows: int) -> str:
    from mflag.kernels.launch_table import orthogonality_dual_row

    major, minor = torch.cuda.get_device_capability()
    return str(orthogonality_dual_row(major * 10 + minor, rows, False)) if rows <= 256 else ""
