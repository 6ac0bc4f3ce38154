"""The Barlow Twins loss by its N × N matrix, straight from the formula, for autograd."""

import torch
from torch import Tensor

from tests.oracles.orthogonality import normalise


def barlow_twins(z_a: Tensor, z_b: Tensor, offdiag_weight: float) -> Tensor:
    """Σ_i (C_ii − 1)² + λ Σ_{i≠j} C_ij² of C = xᵀy/B, both views standardised."""
    x, y = (normalise(z, "standardize", 0.0) for z in (z_a, z_b))
    C = x.T @ y / x.shape[0]
    on_diagonal = C.diagonal()
    off_diagonal = C - torch.diag(on_diagonal)
    return (on_diagonal - 1).square().sum() + offdiag_weight * off_diagonal.square().sum()


def value_and_gradients(z_a: Tensor, z_b: Tensor, offdiag_weight: float) -> tuple[Tensor, ...]:
    """The loss, ∂L/∂z_a and ∂L/∂z_b, in the dtype of the views."""
    z_a, z_b = (z.detach().clone().requires_grad_() for z in (z_a, z_b))
    value = barlow_twins(z_a, z_b, offdiag_weight)
    return value.detach(), *torch.autograd.grad(value, (z_a, z_b))
