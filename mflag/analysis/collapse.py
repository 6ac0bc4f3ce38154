"""Collapse in figures, cheap enough to watch during training."""

import torch
from torch import Tensor

from mflag.analysis.spectrum import rankme, singular_values, top_share
from mflag.analysis.spread import dimension_std, offdiagonal_correlation


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
    return {
        "effective_rank": rankme(singular_values(z)),
        "effective_rank_cap": float(min(z.shape)),
        "top_singular_share": top_share(singular_values(z - z.mean(0)), 1),
        "offdiag_mean": offdiagonal_correlation(z),
        "dimension_std": float(dimension_std(z).median()),
    }
