"""Barlow Twins and VICReg as people run them today: the N × N forms."""

import torch
from torch import Tensor
from torch.nn.functional import mse_loss


def barlow_twins(z_a: Tensor, z_b: Tensor) -> Tensor:
    """The form of solo-learn, scale 1: C = BN(z_a)ᵀ BN(z_b)/B, λ = 5e-3 through a mask.

    Args:
        z_a: (B, N) projections of the first view.
        z_b: (B, N) of the second.

    Returns:
        () the loss.
    """
    rows, columns = z_a.shape
    normalise = torch.nn.BatchNorm1d(columns, affine=False).to(z_a)
    C = normalise(z_a).T @ normalise(z_b) / rows
    identity = torch.eye(columns, device=C.device, dtype=C.dtype)
    distance = (C - identity).pow(2)
    distance[~identity.bool()] *= 5e-3
    return distance.sum()


def vicreg(z_a: Tensor, z_b: Tensor, variance_weight: float = 25.0) -> Tensor:
    """25 · invariance + ``variance_weight`` · Σ hinge + covariance, N × N, through a mask.

    Args:
        z_a: (B, N) projections of the first view.
        z_b: (B, N) of the second.
        variance_weight: 25 in solo-learn; lightly halves the sum: 12.5.

    Returns:
        () the loss.
    """
    rows, columns = z_a.shape
    off_diagonal = ~torch.eye(columns, dtype=torch.bool, device=z_a.device)
    loss = 25 * mse_loss(z_a, z_b)
    for z in (z_a, z_b):
        deviation = (z.var(dim=0) + 1e-4).sqrt()
        centred = z - z.mean(dim=0)
        covariance = centred.T @ centred / (rows - 1)
        loss = loss + variance_weight * torch.relu(1 - deviation).mean()
        loss = loss + covariance[off_diagonal].pow(2).sum() / columns
    return loss
