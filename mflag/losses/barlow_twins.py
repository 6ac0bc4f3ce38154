"""Barlow Twins for two views: a drop-in for the class of the same name in lightly."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mflag.errors import InputError
from mflag.ops.arguments import check_backend, check_not_negative, check_tensor
from mflag.ops.barlow_twins import barlow_twins_loss
from mflag.ops.float32_products import float32_products
from mflag.ops.orthogonality_reference import standardize, widen


class BarlowTwinsLoss(nn.Module):
    """Σ_i (C_ii − 1)² + λ Σ_{i≠j} C_ij², C the cross-correlation of two views (Zbontar, 2021).

    Value and gradients are those of lightly; it refuses a single row, which here standardises to
    zero. Without ``gather_distributed`` no N × N matrix is formed when B < N.

    Args:
        lambda_param: λ.
        gather_distributed: average the cross-correlation over the ranks; the statistics stay per
            rank.
        backend: a name from ``mflag.backends()``; None takes the fastest that runs here. Not used
            over several ranks.

    Raises:
        InputError: λ is negative or no finite number, an unknown backend, or gather_distributed
            and this torch has no torch.distributed.
    """

    def __init__(
        self,
        lambda_param: float = 5e-3,
        gather_distributed: bool = False,
        backend: str | None = None,
    ) -> None:
        """Check and keep the arguments."""
        super().__init__()
        check_not_negative("lambda_param", lambda_param)
        check_backend(backend, exists=True)
        if gather_distributed and not dist.is_available():
            raise InputError("gather_distributed is True; this torch has no torch.distributed")
        self.lambda_param = lambda_param
        self.gather_distributed = gather_distributed
        self.backend = backend

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """Return the loss of two (B, N) views: () float32, float64 for float64."""
        if self.gather_distributed and dist.is_initialized() and dist.get_world_size() > 1:
            return self._over_ranks(z_a, z_b)
        return barlow_twins_loss(z_a, z_b, offdiag_weight=self.lambda_param, backend=self.backend)

    def extra_repr(self) -> str:
        """Return the arguments for ``repr``."""
        return f"lambda_param={self.lambda_param}, gather_distributed={self.gather_distributed}"

    def _over_ranks(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        check_tensor("z_a", z_a)
        check_tensor("z_b", z_b)
        with torch.autocast(z_a.device.type, enabled=False):
            x, y = standardize(widen(z_a))[0], standardize(widen(z_b))[0]
            C = _SumOverRanks.apply(_Product.apply(x, y) / (x.shape[0] * dist.get_world_size()))
            diagonal = C.diagonal()
            off_diagonal = C.square().sum() - diagonal.square().sum()
            return (diagonal - 1).square().sum() + self.lambda_param * off_diagonal


class _Product(torch.autograd.Function):
    """xᵀy in float32, forward and backward, whatever is set globally."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        with float32_products(x.device.type):
            return x.T @ y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, y = ctx.saved_tensors
        with float32_products(x.device.type):
            return y @ gradient.T, x @ gradient


class _SumOverRanks(torch.autograd.Function):
    """All-reduce whose backward sums the ranks' gradients too, so that averaged gradients fit."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
