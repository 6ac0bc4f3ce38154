"""The orthogonality loss by its N × N matrix, straight from the formula, for autograd."""

import torch
from torch import Tensor


def normalise(z: Tensor, norm: str, eps: float) -> Tensor:
    if norm == "sample":
        return torch.nn.functional.normalize(z, dim=1, eps=eps)
    if norm == "feature":
        return torch.nn.functional.normalize(z, dim=0, eps=eps)
    if norm == "center":
        return z - z.mean(0)
    if norm == "standardize":
        variance, mean = torch.var_mean(z, dim=0, correction=0)
        return (z - mean) / torch.sqrt(variance + 1e-5)
    return z


def gram(z: Tensor, norm: str, scale: float | None, eps: float) -> Tensor:
    x = normalise(z, norm, eps)
    return x.T @ x / (scale or x.shape[0])


def orthogonality(
    z: Tensor,
    norm: str = "standardize",
    scale: float | None = None,
    target: float = 1.0,
    offdiag_weight: float = 0.0051,
    factor: float = 0.5,
    eps: float = 1e-12,
    diagonal_weight: float = 1.0,
) -> Tensor:
    """L = a[δ Σ_i (C_ii − t)² + λ Σ_{i≠j} C_ij²], in the dtype of z."""
    C = gram(z, norm, scale, eps)
    diagonal = C.diagonal()
    off_diagonal = C - torch.diag(diagonal)
    return factor * (
        diagonal_weight * (diagonal - target).square().sum()
        + offdiag_weight * off_diagonal.square().sum()
    )


def value_and_gradient(z: Tensor, **formula) -> tuple[Tensor, Tensor]:
    """The loss and ∂L/∂z, both in the dtype of z."""
    z = z.detach().clone().requires_grad_()
    value = orthogonality(z, **formula)
    return value.detach(), torch.autograd.grad(value, z)[0]


def unprojected_gradient(z: Tensor, **formula) -> Tensor:
    """∂L/∂x: its size is the scale of rounding where ∂L/∂z vanishes."""
    x = normalise(z.detach(), formula["norm"], 1e-12)
    return value_and_gradient(x, **(formula | {"norm": "none"}))[1]
