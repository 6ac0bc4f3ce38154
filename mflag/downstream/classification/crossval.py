"""A linear probe by cross-validation: for sets too small for a test split of their own."""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from mflag.downstream.classification.probe import fit_probe, fit_ridge, standardise
from mflag.downstream.scores import class_aucs, is_two_sided


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of every image by models that saw none of its patient.

    Attributes:
        scores: (n, K) decision values.
        fitted: (K,) bool, False where the rest of some fold holds no positive or no negative.
        inverse_penalties: (F) the C that was chosen for each fold.
        unconverged: fits that stopped early.
    """

    scores: np.ndarray
    fitted: np.ndarray
    inverse_penalties: list[float]
    unconverged: int


def assign_folds(labels: np.ndarray, patients: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return (n,) int64: the fold of each row, all rows of a patient in one.

    Args:
        labels: (n, K); folds get about equal shares of their combinations.
        patients: (n,) any type that has a text.
        folds: number of folds, at most the number of patients.
        seed: of the shuffling.
    """
    combination = np.array([" ".join(map(str, row)) for row in labels.tolist()])
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    fold_of = np.zeros(len(labels), np.int64)
    with warnings.catch_warnings():  # of combinations rarer than the folds
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, rows) in enumerate(splitter.split(combination, combination, patients)):
            fold_of[rows] = fold
    return fold_of


def probe_out_of_fold(
    features: np.ndarray,
    labels: np.ndarray,
    fold_of: np.ndarray,
    inverse_penalties: list[float],
    threads: int,
) -> OutOfFold:
    """Score each fold by a logistic regression on the others, its C chosen among these alone.

    The choice is a cross-validation of its own: each of the other folds in turn is scored by a fit
    on the rest, and the C with the best macro AUC over all of them is fitted again on all.

    Args:
        features: (n, N).
        labels: (n, K) 1, 0, NaN unknown.
        fold_of: (n,) of ``assign_folds``.
        inverse_penalties: the C to choose from; of equal ones the smallest is taken.
        threads: fits at a time.
    """
    grid = sorted(inverse_penalties)
    scores = np.full(labels.shape, np.nan)
    fitted = np.ones(labels.shape[1], bool)
    chosen, unconverged = [], 0
    folds = np.unique(fold_of)
    for fold in folds:
        inner = np.full((len(grid), *labels.shape), np.nan)
        for other in folds[folds != fold]:
            held_out = fold_of == other
            train = (fold_of != fold) & ~held_out
            fits = _fit(features, labels, train, held_out, grid, threads)
            inner[:, held_out] = [probe_scores for probe_scores, _, _ in fits]
        best = _best(inner, labels, fold_of != fold)
        chosen.append(grid[best])
        held_out = fold_of == fold
        ((predicted, known, early),) = _fit(
            features, labels, ~held_out, held_out, [grid[best]], threads
        )
        scores[held_out] = predicted
        fitted &= known
        unconverged += early
    return OutOfFold(scores, fitted, chosen, unconverged)


def ridge_out_of_fold(features: np.ndarray, values: np.ndarray, fold_of: np.ndarray) -> np.ndarray:
    """Predict attributes of each fold by ridge regression on the others.

    Args:
        features: (n, N).
        values: (n, A) NaN unknown.
        fold_of: (n,) of ``assign_folds``.

    Returns:
        (n, A) float64.
    """
    predicted = np.full(values.shape, np.nan)
    for fold in np.unique(fold_of):
        held_out = fold_of == fold
        scaled = standardise(features[~held_out], features[:0], features[held_out])
        predicted[held_out] = fit_ridge(scaled, values[~held_out])
    return predicted


def _fit(
    features: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    inverse_penalties: list[float],
    threads: int,
) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """For each C: scores (h, K) of the rows held out, which classes were fitted, early stops."""
    scaled = standardise(features[train], features[:0], features[held_out])
    found = []
    for inverse_penalty in inverse_penalties:
        probe = fit_probe(scaled, labels[train], labels[:0], [inverse_penalty], threads)
        found.append((probe.scores(scaled.test), probe.fitted, probe.unconverged))
    return found


def _best(inner: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> int:
    """Place of the C whose scores (C, n, K) have the best macro AUC; 0 where none is defined."""
    if not is_two_sided(labels[rows]).any():
        return 0
    return int(np.argmax([np.nanmean(class_aucs(scores[rows], labels[rows])) for scores in inner]))
