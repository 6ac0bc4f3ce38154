"""How latents lie: by dimension, by pairs of dimensions, on the unit sphere."""

import math

from torch import Tensor
from torch.nn.functional import normalize

# Rows of one block of pairs: a block of 4096 latents stays within 16 MB.
_BLOCK = 512


def dimension_std(z: Tensor) -> Tensor:
    """Return the standard deviation of each dimension of unit rows, times √N.

    Args:
        z: (n, N) float.

    Returns:
        (N,): about 1 where all dimensions vary alike, 0 for one that does not vary.
    """
    return normalize(z).std(0, correction=0) * z.shape[1] ** 0.5


def offdiagonal_correlation(z: Tensor) -> float:
    """Return the mean absolute correlation of two dimensions that vary.

    Args:
        z: (n, N) float.

    Returns:
        0 to 1, about 1/√n for independent dimensions; 0 where fewer than two vary.
    """
    centred = z - z.mean(0)
    norms = centred.norm(dim=0)
    x = centred[:, norms > 0] / norms[norms > 0]
    k = x.shape[1]
    if k < 2:
        return 0.0
    return float(((x.T @ x).abs().sum() - k) / (k * (k - 1)))


def uniformity(z: Tensor) -> float:
    """Return log of the mean over pairs i ≠ j of exp(−2 ‖z̄_i − z̄_j‖²).

    Wang and Isola, ICML 2020.

    Args:
        z: (n, N) float, n at least 2; rows are normalised here.

    Returns:
        0 when all rows are equal, toward −4 on a whole sphere.
    """
    unit = normalize(z.double())
    total = 0.0
    for start in range(0, len(unit), _BLOCK):
        squares = (2 - 2 * unit[start : start + _BLOCK] @ unit.T).clamp_(min=0)
        total += float(squares.mul_(-2).exp_().sum())
    pairs = len(unit) * (len(unit) - 1)
    # Each row is at distance 0 from itself; rounding must not make the log positive.
    return min(math.log(max(total - len(unit), 1e-300) / pairs), 0.0)


def alignment(images: Tensor, texts: Tensor) -> float:
    """Return the mean squared distance of the pairs of unit rows (Wang and Isola, ICML 2020).

    Args:
        images: (n, D) float; rows are normalised here.
        texts: (n, D) float, row i belongs to image i.

    Returns:
        0 (equal directions) to 4 (opposite ones); 2 for unrelated rows.
    """
    gaps = normalize(images.double()) - normalize(texts.double())
    return float(gaps.square().sum(1).mean())
