"""Scores of predictions: AUC by class, R² by attribute."""

import numpy as np
import torch
from scipy.stats import rankdata
from torchmetrics.functional.classification import binary_auroc


def class_aucs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the ROC AUC of each class over all rows at once (torchmetrics).

    Args:
        scores: (n, K) the higher, the more positive.
        labels: (n, K) 1, 0, NaN unknown: that cell is masked.

    Returns:
        (K,) float64; NaN where a class has no positive or no negative. Torchmetrics' own macro mean
        would count such a class as 0.
    """
    values = np.full(labels.shape[1], np.nan)
    for k in np.flatnonzero(is_two_sided(labels)):
        known = ~np.isnan(labels[:, k])
        # Ranks, because torchmetrics squashes other numbers by a sigmoid, which makes ties.
        ranks = torch.from_numpy(rankdata(scores[known, k]) / known.sum())
        values[k] = binary_auroc(ranks, torch.from_numpy(labels[known, k]).long()).item()
    return values


def is_two_sided(labels: np.ndarray) -> np.ndarray:
    """Return (K,) bool: the class has a positive and a negative among the known (n, K) labels."""
    return (labels == 1).any(0) & (labels == 0).any(0)


def r_squared(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Return 1 − residual over total sum of squares; NaN for constant truth.

    Args:
        predicted: (n,).
        truth: (n,) NaN unknown.
    """
    known = ~np.isnan(truth)
    y = truth[known].astype(np.float64)
    total = ((y - y.mean()) ** 2).sum() if len(y) else 0.0
    return float(1 - ((y - predicted[known]) ** 2).sum() / total) if total > 0 else float("nan")
