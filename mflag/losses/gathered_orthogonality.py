"""The orthogonality loss over the global batch: one all_gather forward, nothing backward."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mflag.ops.orthogonality import orthogonality_loss

REDUCTIONS = ("mean", "sum")


class _OwnRows(torch.autograd.Function):
    """The global value, with the gradient of this rank's rows."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, incoming: Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        return incoming * gradient, None, None


def gathered_orthogonality_loss(z: Tensor, reduction: str, **arguments: Any) -> Tensor:
    """Return the loss of all ranks' rows; the backward gives this rank's rows their gradient.

    Args:
        z: (B, N) this rank's rows; every rank has as many.
        reduction: ``mean``: the gradient is times the world size, because the framework averages
            over the ranks; ``sum``: as it is.
        arguments: keyword arguments of ``orthogonality_loss``.
    """
    rank, world_size = dist.get_rank(), dist.get_world_size()
    rows = z.shape[0]
    everything = z.new_empty(world_size * rows, *z.shape[1:])
    dist.all_gather_into_tensor(everything, z.detach().contiguous())
    if not (z.requires_grad and torch.is_grad_enabled()):
        return orthogonality_loss(everything, **arguments)
    with torch.enable_grad():
        everything.requires_grad_()
        value = orthogonality_loss(everything, **arguments)
        (gradient,) = torch.autograd.grad(value, everything)
    own = gradient[rank * rows : (rank + 1) * rows]
    if reduction == "mean":
        own = own * world_size
    return _OwnRows.apply(z, value.detach(), own)
