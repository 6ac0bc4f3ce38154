"""The orthogonality loss over the global batch: one all_gather forward, nothing backward."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mflag.distributed.reductions import all_gather
from mflag.errors import InputError
from mflag.ops.arguments import check_tensor
from mflag.ops.orthogonality import orthogonality_of_rows
from mflag.ops.orthogonality_reference import Formula, OwnRows

REDUCTIONS = ("mean", "sum")


class _WithGradient(torch.autograd.Function):
    """The global value, with the gradient of this rank's rows."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        ctx.dtype = z.dtype
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, incoming: Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        return (incoming * gradient).to(ctx.dtype), None, None


def gathered_orthogonality_loss(
    z: Tensor,
    reduction: str,
    formula: Formula,
    precision: str,
    backend: str | None,
    equal_rows: bool = False,
) -> Tensor:
    """Return the loss of all ranks' rows; the backward gives this rank's rows their gradient.

    Args:
        z: (B, N) this rank's rows; every rank has as many.
        reduction: ``mean``: the gradient is times the world size, because the framework averages
            over the ranks; ``sum``: as it is.
        formula: the parameters of the loss.
        precision: ``highest`` or ``tf32``.
        backend: a name from ``mflag.backends()``; None takes the fastest that runs here.
        equal_rows: as ``gather_rows`` takes it.

    Raises:
        InputError: the ranks have different numbers of rows, or as ``orthogonality_loss``.
    """
    check_tensor("z", z)
    factor = dist.get_world_size() if reduction == "mean" else 1
    return loss_of_gathered(z, *gather_rows(z, equal_rows), factor, formula, precision, backend)


def gather_rows(z: Tensor, equal_rows: bool = False) -> tuple[Tensor, OwnRows]:
    """Return the rows of all ranks, without a graph, and which of them are this rank's.

    Args:
        z: (B, ...) this rank's rows; every rank has as many.
        equal_rows: the caller knows that they have; else the ranks ask each other.

    Raises:
        InputError: the ranks have different numbers of rows.
    """
    rows = z.shape[0]
    if not equal_rows:
        _check_rows(rows, z.device)
    everything = z.new_empty(dist.get_world_size() * rows, *z.shape[1:])
    all_gather(everything, z.detach().contiguous())
    return everything, OwnRows(dist.get_rank() * rows, rows, _sum_over_ranks)


def loss_of_gathered(
    z: Tensor,
    everything: Tensor,
    own: OwnRows,
    factor: int,
    formula: Formula,
    precision: str = "highest",
    backend: str | None = None,
) -> Tensor:
    """Return the loss of ``everything``; the backward gives z, its own rows, factor · ∂L/∂z."""
    need_grad = z.requires_grad and torch.is_grad_enabled()
    value, gradient = orthogonality_of_rows(everything, own, need_grad, backend, precision, formula)
    if not need_grad:
        return value
    return _WithGradient.apply(z, value, gradient * factor if factor != 1 else gradient)


def _check_rows(rows: int, device: torch.device) -> None:
    """Ask all ranks; through the CPU where the group has a backend for it, without the GPU."""
    if "cpu:" in dist.get_backend_config():
        device = torch.device("cpu")
    counts = torch.empty(dist.get_world_size(), dtype=torch.int64, device=device)
    all_gather(counts, torch.tensor([rows], device=device))
    if not (counts == rows).all():
        raise InputError(
            f"the ranks have {counts.tolist()} rows; give every rank as many "
            "(drop the last, incomplete batch)"
        )


def _sum_over_ranks(part: Tensor) -> Tensor:
    total = part.clone()
    dist.all_reduce(total)
    return total
