"""Collapse in figures, cheap enough to watch during training."""

import torch
from torch import Tensor


def singular_values(z: Tensor) -> Tensor:
    """Return the singular values of Z, largest first, by the smaller Gram matrix.

    Args:
        z: (B, N), any float dtype, any device; computed in float64.

    Returns:
        (min(B, N),) float64.
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
    shares = singular / total + 1e-7
    return float(torch.exp(-(shares * shares.log()).sum()))


@torch.no_grad()
def collapse_figures(z: Tensor) -> dict[str, float]:
    """Return the live diagnostics of a set of latents.

    Args:
        z: (n, N) float, any device.

    Returns:
        ``effective_rank``: RankMe; ``effective_rank_cap``: min(n, N), the most it can be;
        ``top_singular_share``: σ₁² / Σσ² of centred latents; ``offdiag_mean``: mean absolute
        correlation of two dimensions that vary; ``dimension_std``: median standard deviation of
        a dimension of unit rows, times √N (1 healthy, 0 collapsed).
    """
    z = z.float()
    centred = z - z.mean(0)
    squares = singular_values(centred) ** 2
    unit = torch.nn.functional.normalize(z)
    return {
        "effective_rank": rankme(singular_values(z)),
        "effective_rank_cap": float(min(z.shape)),
        "top_singular_share": float(squares[0] / squares.sum().clamp(min=1e-300)),
        "offdiag_mean": _mean_offdiagonal(centred),
        "dimension_std": float(unit.std(0, correction=0).median() * z.shape[1] ** 0.5),
    }


def _mean_offdiagonal(centred: Tensor) -> float:
    norms = centred.norm(dim=0)
    x = centred[:, norms > 0] / norms[norms > 0]
    k = x.shape[1]
    if k < 2:
        return 0.0
    return float(((x.T @ x).abs().sum() - k) / (k * (k - 1)))
