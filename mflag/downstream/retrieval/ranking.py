"""Reports in the order of their cosine with an image, and what that order is worth."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

TOP = (1, 5, 10)
# Images of one block of cosines: 1024 x 5000 float32 is 20 MB.
_BLOCK = 1024
# Resamples of one block: 100 x 5000 counts.
_RESAMPLES = 100


@dataclass(frozen=True)
class Ranking:
    """Where reports stand.

    Attributes:
        first: (n, min(10, m)) numbers of the closest reports, the closest first.
        own: (n,) rank of the image's own report, from 1.
        count: m, reports among which is chosen.
    """

    first: np.ndarray
    own: np.ndarray
    count: int


def rank_reports(images: Tensor, reports: Tensor, own: np.ndarray, seed: int = 0) -> Ranking:
    """Order all reports for each image.

    Args:
        images: (n, E) unit rows.
        reports: (m, E) unit rows.
        own: (n,) number of the image's own report.
        seed: of the order among reports with equal cosines, so that equal vectors earn nothing.
    """
    shuffled = np.random.default_rng(seed).permutation(len(reports))
    table = reports[torch.from_numpy(shuffled)]
    first, ranks = [], []
    for start in range(0, len(images), _BLOCK):
        cosines = (images[start : start + _BLOCK] @ table.T).numpy()
        order = shuffled[np.argsort(-cosines, axis=1, kind="stable")]
        first.append(order[:, : max(TOP)])
        ranks.append((order == own[start : start + _BLOCK, None]).argmax(1) + 1)
    return Ranking(np.concatenate(first), np.concatenate(ranks), len(reports))


@dataclass(frozen=True)
class Patterns:
    """Which findings go together, in images and in reports.

    Attributes:
        of_report: (m,) pattern of each report.
        of_image: (n,) pattern of each image.
        matches: (P, P) bool: no label differs where both are known; the second has a known one.
        is_known: (P,) bool: some label of the pattern is known.
    """

    of_report: np.ndarray
    of_image: np.ndarray
    matches: np.ndarray
    is_known: np.ndarray


def finding_patterns(images: np.ndarray, reports: np.ndarray) -> Patterns:
    """Compare the findings of images and reports.

    Args:
        images: (n, K) 1, 0, NaN masked.
        reports: (m, K) the same of the reports.
    """
    together = np.nan_to_num(np.concatenate([images, reports]), nan=2).astype(np.int8)
    distinct, of_row = np.unique(together, axis=0, return_inverse=True)
    of_row = of_row.reshape(-1)
    unknown = distinct == 2
    differs = (distinct[:, None] != distinct[None]) & ~unknown[:, None] & ~unknown[None]
    is_known = ~unknown.all(1)
    matches = ~differs.any(2) & is_known[None]
    return Patterns(of_row[len(images) :], of_row[: len(images)], matches, is_known)


def finding_precision(ranking: Ranking, patterns: Patterns, k: int) -> np.ndarray:
    """Return (n,) share of the k closest reports with the image's findings; NaN where unknown."""
    found = patterns.of_report[ranking.first[:, :k]]
    right = patterns.matches[patterns.of_image[:, None], found].mean(1)
    return np.where(patterns.is_known[patterns.of_image], right, np.nan)


def chance_precision(patterns: Patterns) -> np.ndarray:
    """Return (n,) share of all reports with the image's findings; NaN where unknown."""
    sizes = np.bincount(patterns.of_report, minlength=len(patterns.matches))
    share = (patterns.matches @ sizes / sizes.sum())[patterns.of_image]
    return np.where(patterns.is_known[patterns.of_image], share, np.nan)


def median_resamples(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the lower median in every resample.

    Args:
        values: (n,).
        weights: (R, n) counts.

    Returns:
        (R,) float64; NaN where nothing is left.
    """
    order = np.argsort(values, kind="stable")
    parts = []
    for start in range(0, len(weights), _RESAMPLES):
        below = weights[start : start + _RESAMPLES, order].astype(np.int64).cumsum(1)
        total = below[:, -1:]
        middle = values[order][(2 * below >= total).argmax(1)].astype(np.float64)
        parts.append(np.where(total[:, 0] > 0, middle, np.nan))
    return np.concatenate(parts)
