"""How many directions of the latent space are in use (domain of collapse diagnostics)."""

from typing import Any

import numpy as np


def latent_geometry(features: np.ndarray) -> dict[str, Any]:
    """Return spectrum and ranks of features.

    Args:
        features: (n, N), any float dtype; computed in float64.

    Returns:
        ``n``, ``dimensions``; ``rankme`` (un-centred, Garrido et al. 2023); ``effective_rank``
        (centred, Roy and Vetterli 2007); ``participation_ratio`` (centred); ``top_share``: share
        of the largest centred singular value in the sum of squares; ``dead``: constant features;
        ``spectrum``: the eigenvalues of the covariance over their sum, largest first.
    """
    z = features.astype(np.float64)
    centred = np.linalg.svd(z - z.mean(0), compute_uv=False)
    energy = centred**2
    total = energy.sum()
    shares = energy / total if total > 0 else energy
    return {
        "n": len(z),
        "dimensions": z.shape[1],
        "rankme": rankme(z),
        "effective_rank": _exp_entropy(centred),
        "participation_ratio": float(1 / (shares**2).sum()) if total > 0 else 0.0,
        "top_share": float(shares[0]),
        "dead": int((z.std(0) == 0).sum()),
        "spectrum": [float(f"{share:.4g}") for share in shares],
    }


def rankme(features: np.ndarray) -> float:
    """Return RankMe: the exponential of the entropy of the normalised singular values.

    Args:
        features: (n, N), not centred.

    Returns:
        From 1 (one direction) to min(n, N); 1e-7 is added to each share as in the paper
        (Garrido et al., ICML 2023, equation 1).
    """
    singular = np.linalg.svd(features.astype(np.float64), compute_uv=False)
    total = singular.sum()
    if total == 0:
        return 0.0
    shares = singular / total + 1e-7
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _exp_entropy(singular: np.ndarray) -> float:
    shares = singular[singular > 0] / max(singular.sum(), np.finfo(float).tiny)
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0
