"""How many directions of a latent space are in use, from its singular values."""

import torch
from torch import Tensor

# Added to each share by RankMe (Garrido et al., eq. 1).
RANKME_EPS = 1e-7


def singular_values(z: Tensor) -> Tensor:
    """Return the singular values of Z, largest first, by the smaller Gram matrix.

    Args:
        z: (n, N), any float dtype, any device; computed in float64.

    Returns:
        (min(n, N),) float64; what lies below about 1e-8 of the largest is rounding.
    """
    z = z.double()
    gram = z @ z.T if z.shape[0] <= z.shape[1] else z.T @ z
    return torch.linalg.eigvalsh(gram).flip(0).clamp(min=0).sqrt()


def rankme(singular: Tensor) -> float:
    """Return the exponential of the entropy of normalised singular values (RankMe, eq. 1).

    Garrido et al., ICML 2023; the values are those of un-centred features.

    Args:
        singular: (k,) from ``singular_values``.

    Returns:
        From 1 (one direction) to k; 0 when all values are 0.
    """
    total = singular.sum()
    if total == 0:
        return 0.0
    shares = singular / total + RANKME_EPS
    return float(torch.exp(-(shares * shares.log()).sum()))


def effective_rank(singular: Tensor) -> float:
    """Return the effective rank (Roy and Vetterli, EUSIPCO 2007).

    Args:
        singular: (k,) singular values of centred features.

    Returns:
        exp(−Σ p log p) of p = σ / Σσ, from 1 to k; 0 when all values are 0.
    """
    shares = singular[singular > 0] / singular.sum()
    return float(torch.exp(-(shares * shares.log()).sum())) if len(shares) else 0.0


def participation_ratio(singular: Tensor) -> float:
    """Return (Σλ)² / Σλ² of λ = σ²: N for equal variances, 1 for a line, 0 without variance.

    Args:
        singular: (k,) singular values of centred features.
    """
    energy = singular.square()
    total = energy.sum()
    return float(1 / (energy / total).square().sum()) if total > 0 else 0.0


def top_share(singular: Tensor, count: int) -> float:
    """Return the share of the variance that the ``count`` strongest directions hold.

    Args:
        singular: (k,) singular values of centred features, largest first.
        count: directions.
    """
    energy = singular.square()
    return float(energy[:count].sum() / energy.sum().clamp(min=1e-300))
