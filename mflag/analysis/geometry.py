"""Everything that is said of a set of latents: spectrum, ranks, spread, collapse."""

from typing import Any

import numpy as np
import torch

from mflag.analysis.spectrum import (
    effective_rank,
    participation_ratio,
    rankme,
    singular_values,
    top_share,
)
from mflag.analysis.spread import dimension_std, offdiagonal_correlation, uniformity

TOP_COUNTS = (3, 10)
# A dimension that varies less than this, where √N times its deviation is 1 when healthy.
QUIET_STD = 0.01
# Features are float32: a variance below this share of the squares is their rounding.
_ROUNDING = 2.0**-46


def latent_geometry(features: np.ndarray) -> dict[str, Any]:
    """Return spectrum, ranks and spread of features.

    Args:
        features: (n, N), n at least 2, any float dtype; computed in float64.

    Returns:
        ``n``, ``dimensions``; ``rank_cap``: min(n, N), the most that a rank can be; ``rankme``
        (un-centred, Garrido et al. 2023); ``effective_rank_centred`` (Roy and Vetterli 2007);
        ``participation_ratio`` (centred); ``top_share``, ``top_3_share``, ``top_10_share``: what
        the strongest directions hold of the variance; ``uniformity`` (Wang and Isola 2020);
        ``dimension_std``: ``min``, ``median`` and ``max`` over dimensions of √N · standard
        deviation of unit rows; ``quiet_share``: share of dimensions where it is below 0.01;
        ``dead``: dimensions that never change; ``offdiag_mean``: mean absolute correlation of two
        dimensions that vary; ``variance``: trace of the covariance; ``spectrum``: eigenvalues of
        the covariance (1/n) over that trace, largest first.
    """
    z = torch.from_numpy(features.astype(np.float64))
    whole, centred = singular_values(z), _without_rounding(z)
    energy, std = centred.square(), dimension_std(z)
    total = energy.sum()
    shares = energy / total if total > 0 else energy
    return {
        "n": len(z),
        "dimensions": z.shape[1],
        "rank_cap": min(z.shape),
        "rankme": rankme(whole),
        "effective_rank_centred": effective_rank(centred),
        "participation_ratio": participation_ratio(centred),
        "top_share": top_share(centred, 1),
        **{f"top_{k}_share": top_share(centred, k) for k in TOP_COUNTS},
        "uniformity": uniformity(z),
        "dimension_std": {
            "min": float(std.min()), "median": float(std.median()), "max": float(std.max()),
        },
        "quiet_share": float((std < QUIET_STD).double().mean()),
        "dead": int((z == z[0]).all(0).sum()),
        "offdiag_mean": offdiagonal_correlation(z),
        "variance": float(total) / len(z),
        "spectrum": [float(f"{share:.4g}") for share in shares],
    }  # fmt: skip


def log10_spectrum(geometry: dict[str, Any]) -> list[float | None]:
    """Return log10 of the covariance's singular values, largest first.

    Jing et al., Understanding Dimensional Collapse, ICLR 2022.

    Args:
        geometry: of ``latent_geometry``.

    Returns:
        min(n, N) numbers; None for what float32 features cannot tell from 0.
    """
    largest = geometry["spectrum"][0]
    return [
        round(float(np.log10(share * geometry["variance"])), 4)
        if share > _ROUNDING * largest
        else None
        for share in geometry["spectrum"]
    ]


def _without_rounding(z: torch.Tensor) -> torch.Tensor:
    """Singular values of centred features; 0 where only the mean's rounding is left."""
    singular = singular_values(z - z.mean(0))
    floor = _ROUNDING * z.square().sum()
    return singular if singular.square().sum() > floor else torch.zeros_like(singular)
