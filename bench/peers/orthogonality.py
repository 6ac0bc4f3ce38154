"""The orthogonality loss as people run it today, and a short eager dual to measure against."""

from typing import Any

import torch
from torch import Tensor

OFFDIAG_WEIGHT = 0.0051


def published(z: Tensor) -> Tensor:
    """The published N × N form: C = zᵀz/B, half of the Barlow Twins sum. Differentiable.

    Args:
        z: (B, N) latents.

    Returns:
        () the loss, in the dtype of z.
    """
    C = z.T @ z / z.shape[0]
    on_diagonal = torch.diagonal(C).add_(-1).pow_(2).sum()
    n = C.shape[0]
    off_diagonal = C.flatten()[:-1].view(n - 1, n + 1)[:, 1:].flatten()
    return (on_diagonal + OFFDIAG_WEIGHT * off_diagonal.pow_(2).sum()) / 2


class _PlainDual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        rows = z.shape[0]
        K = z @ z.T
        d = z.square().sum(0) / rows
        c = (d - 1) - OFFDIAG_WEIGHT * d
        off_diagonal = K.square().sum() / rows**2 - d.square().sum()
        ctx.save_for_backward((OFFDIAG_WEIGHT / rows * (K @ z) + z * c) * (2 / rows))
        return ((d - 1).square().sum() + OFFDIAG_WEIGHT * off_diagonal) / 2

    @staticmethod
    def backward(ctx: Any, incoming: Tensor) -> Tensor:
        return incoming * ctx.saved_tensors[0]


def plain_dual(z: Tensor) -> Tensor:
    """The same value by K = zzᵀ, with the gradient in the forward: 12 eager lines.

    Args:
        z: (B, N) latents, B <= N.

    Returns:
        () the loss, in the dtype of z.
    """
    return _PlainDual.apply(z)
