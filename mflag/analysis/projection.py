"""The first three principal components of latents, as in Figures 1 and 2 of the paper."""

from dataclasses import dataclass

import numpy as np

COMPONENTS = 3


@dataclass(frozen=True)
class Projection:
    """Latents seen along their strongest directions.

    Attributes:
        coordinates: (n, 3) float64, centred, in the unit of the features.
        shares: (3,) share of the variance along each; 0 where there is none.
    """

    coordinates: np.ndarray
    shares: np.ndarray


def principal_components(features: np.ndarray) -> Projection:
    """Project features on the first three eigenvectors of their covariance.

    Args:
        features: (n, N), n at least 2, any float dtype; computed in float64.

    Returns:
        signs are such that the entry of an eigenvector with the largest magnitude is positive;
        where n or N is too small, the last components are 0.
    """
    z = features.astype(np.float64)
    z = z - z.mean(0)
    values, vectors = np.linalg.eigh(z.T @ z)
    values, vectors = values[::-1][:COMPONENTS], vectors[:, ::-1][:, :COMPONENTS]
    peaks = np.take_along_axis(vectors, np.abs(vectors).argmax(0)[None], 0)
    coordinates, shares = np.zeros((len(z), COMPONENTS)), np.zeros(COMPONENTS)
    coordinates[:, : len(values)] = z @ (vectors * np.sign(peaks))
    total = np.square(z).sum()
    if total > 0:
        shares[: len(values)] = np.clip(values, 0, None) / total
    return Projection(coordinates, shares)
