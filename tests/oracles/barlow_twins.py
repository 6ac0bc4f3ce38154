"""The Barlow Twins loss of two views by its N × N matrix, straight from the formula."""

import torch
from torch import Tensor

from tests.oracles.orthogonality import normalise


def barlow_twins(z_a: Tensor, z_b: Tensor, offdiag_weight: float = 5e-3) -> Tensor:
    """Σ_i (C_ii − 1)² + λ Σ_{i≠j} C_ij², C = xᵀy/B, in the dtype of the views."""
    x, y = (normalise(z, "standardize", 0.0) for z in (z_a, z_b))
    C = x.T @ y / x.shape[0]
    diagonal = C.diagonal()
    off_diagonal = C - torch.diag(diagonal)
    return (diagonal - 1).square().sum() + offdiag_weight * off_diagonal.square().sum()


def value_and_gradients(z_a: Tensor, z_b: Tensor, **formula) -> tuple[Tensor, ...]:
    """The loss, ∂L/∂z_a and ∂L/∂z_b, in the dtype of the views."""
    z = z_a.detach().clone().requires_grad_(), z_b.detach().clone().requires_grad_()
    value = barlow_twins(*z, **formula)
    return value.detach(), *torch.autograd.grad(value, z)
