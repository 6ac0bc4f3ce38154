"""Linear probes: logistic regression for labels, ridge regression for attributes."""

import os
import warnings
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mflag.downstream.scores import class_aucs, is_two_sided

MAX_ITERATIONS = 2000
RIDGE_PENALTIES = np.logspace(-1, 5, 13)
# Below this, leave-one-out says nothing about a penalty.
MIN_RIDGE_ROWS = 10


@dataclass(frozen=True)
class Probe:
    """A fitted logistic regression for each class.

    Attributes:
        weights: (d, K) float64 in the space of ``Standardised``; 0 for classes left out.
        offsets: (K,) float64.
        fitted: (K,) bool, False where the labelled rows hold no positive or no negative.
        inverse_penalty: the C that the valid split chose.
        unconverged: fits that stopped at ``MAX_ITERATIONS``.
    """

    weights: np.ndarray
    offsets: np.ndarray
    fitted: np.ndarray
    inverse_penalty: float
    unconverged: int

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return (n, K) decision values of standardised (n, d) features."""
        return features @ self.weights + self.offsets


@dataclass(frozen=True)
class Standardised:
    """Features with zero mean and unit variance over the labelled rows.

    With fewer rows than features they are also rotated into the space that the rows span: ridge and
    logistic solutions lie in it, so the fit is the same and much smaller.

    Attributes:
        train: (k, d) float64 labelled rows.
        valid: (v, d) float64.
        test: (t, d) float64.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def standardise(train: np.ndarray, valid: np.ndarray, test: np.ndarray) -> Standardised:
    """Return all three in the scale of ``train``; a constant feature becomes 0.

    Args:
        train: (k, N) features of the labelled rows.
        valid: (v, N).
        test: (t, N).
    """
    mean = train.mean(0, dtype=np.float64)
    std = train.std(0, dtype=np.float64)
    inverse = np.divide(1, std, out=np.zeros_like(std), where=std > 0)
    parts = [(part - mean) * inverse for part in (train, valid, test)]
    if train.shape[0] < train.shape[1]:
        basis = np.linalg.qr(parts[0].T)[0]
        parts = [part @ basis for part in parts]
    return Standardised(*parts)


def fit_probe(
    features: Standardised,
    train_labels: np.ndarray,
    valid_labels: np.ndarray,
    inverse_penalties: list[float],
    threads: int,
) -> Probe:
    """Fit a logistic regression for each class; the valid split's macro AUC chooses one C for all.

    Args:
        features: of the labelled, valid and test rows; test is not used.
        train_labels: (k, K) 1, 0, NaN unknown.
        valid_labels: (v, K).
        inverse_penalties: the C to choose from; of equal ones the smaller is taken.
        threads: fits at a time.
    """
    grid = sorted(inverse_penalties)
    fitted = is_two_sided(train_labels)
    classes = np.flatnonzero(fitted)
    with warnings.catch_warnings(), threadpool_limits(1):
        # Counted instead, in Probe.unconverged.
        warnings.simplefilter("ignore", ConvergenceWarning)
        paths = Parallel(n_jobs=threads, prefer="threads")(
            delayed(_fit_path)(features.train, train_labels[:, k], grid) for k in classes
        )
    shape = (len(grid), train_labels.shape[1])
    weights = np.zeros((*shape, features.train.shape[1]))
    offsets = np.zeros(shape)
    for k, (path_weights, path_offsets, _) in zip(classes, paths, strict=True):
        weights[:, k], offsets[:, k] = path_weights, path_offsets
    best = 0
    if (fitted & is_two_sided(valid_labels)).any():
        tried = [
            np.nanmean(_fitted_aucs(features.valid @ w.T + b, valid_labels, fitted))
            for w, b in zip(weights, offsets, strict=True)
        ]
        best = int(np.argmax(tried))
    unconverged = sum(path[2] for path in paths)
    return Probe(weights[best].T, offsets[best], fitted, grid[best], unconverged)


def fit_ridge(features: Standardised, train_values: np.ndarray) -> np.ndarray:
    """Predict attributes on test; leave-one-out on the labelled rows chooses each one's penalty.

    Args:
        features: of the labelled and the test rows.
        train_values: (k, A) NaN unknown.

    Returns:
        (t, A) float64; NaN for attributes with fewer than ``MIN_RIDGE_ROWS`` known values.
    """
    predicted = np.full((len(features.test), train_values.shape[1]), np.nan)
    known = ~np.isnan(train_values)
    # Attributes known for the same rows share one decomposition.
    patterns, pattern_of = np.unique(known, axis=1, return_inverse=True)
    with threadpool_limits(1):
        for k, rows in enumerate(patterns.T):
            together = np.flatnonzero(pattern_of.ravel() == k)
            if rows.sum() < MIN_RIDGE_ROWS:
                continue
            model = RidgeCV(RIDGE_PENALTIES, alpha_per_target=True)
            model.fit(features.train[rows], train_values[rows][:, together].astype(np.float64))
            predicted[:, together] = model.predict(features.test).reshape(-1, len(together))
    return predicted


def available_threads(wanted: int | None) -> int:
    """``wanted``, or the cores that this process may use."""
    return wanted or len(os.sched_getaffinity(0))


def _fit_path(
    features: np.ndarray, labels: np.ndarray, grid: list[float]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Weights (C, d) and offsets (C,) from the strongest penalty on, each started at the last."""
    known = ~np.isnan(labels)
    model = LogisticRegression(solver="lbfgs", max_iter=MAX_ITERATIONS, warm_start=True)
    weights, offsets, unconverged = [], [], 0
    for inverse_penalty in grid:
        model.set_params(C=inverse_penalty).fit(features[known], labels[known])
        weights.append(model.coef_[0].copy())
        offsets.append(float(model.intercept_[0]))
        unconverged += int(model.n_iter_[0] >= MAX_ITERATIONS)
    return np.array(weights), np.array(offsets), unconverged


def _fitted_aucs(scores: np.ndarray, labels: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    return np.where(fitted, class_aucs(scores, labels), np.nan)
