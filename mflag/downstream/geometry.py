"""How many directions of the latent space are in use (domain of collapse diagnostics)."""

from typing import Any

import numpy as np
import torch

from mflag.analysis.collapse import rankme


def latent_geometry(features: np.ndarray) -> dict[str, Any]:
    """Return spectrum and ranks of features.

    Args:
        features: (n, N), any float dtype; computed in float64.

    Returns:
        ``n``, ``dimensions``; ``rankme`` (un-centred, Garrido et al. 2023);
        ``effective_rank_centred`` (Roy and Vetterli 2007); ``participation_ratio`` (centred);
        ``top_share``: share of the largest centred singular value in the sum of squares;
        ``dead``: constant features; ``spectrum``: the eigenvalues of the covariance over their
        sum, largest first.
    """
    z = features.astype(np.float64)
    centred = np.linalg.svd(z - z.mean(0), compute_uv=False)
    energy = centred**2
    total = energy.sum()
    shares = energy / total if total > 0 else energy
    return {
        "n": len(z),
        "dimensions": z.shape[1],
        "rankme": rankme(torch.linalg.svdvals(torch.from_numpy(z))),
        "effective_rank_centred": _exp_entropy(centred),
        "participation_ratio": float(1 / (shares**2).sum()) if total > 0 else 0.0,
        "top_share": float(shares[0]),
        "dead": int((z.std(0) == 0).sum()),
        "spectrum": [float(f"{share:.4g}") for share in shares],
    }


def _exp_entropy(singular: np.ndarray) -> float:
    shares = singular[singular > 0] / max(singular.sum(), np.finfo(float).tiny)
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0
