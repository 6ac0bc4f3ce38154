"""Confidence intervals: test patients are drawn with replacement, all their images with them."""

import numpy as np

# Weights of one chunk of resamples stay within about 32 MB.
_CHUNK_CELLS = 4_000_000


def patient_weights(patients: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
    """Return how often each row counts in each resample.

    Args:
        patients: (n,) patient of each row, any comparable type.
        resamples: number of resamples R.
        seed: of the draws.

    Returns:
        (R, n) uint16: rows of one patient share a count; counts over patients sum to their number.
    """
    _, owner = np.unique(patients.astype(str), return_inverse=True)
    count = int(owner.max()) + 1
    chances = np.full(count, 1 / count)
    draws = np.random.default_rng(seed).multinomial(count, chances, size=resamples)
    return draws.astype(np.uint16)[:, owner]


def auc_resamples(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the AUC of one class in every resample.

    Args:
        scores: (n,) the higher, the more positive.
        labels: (n,) 1, 0, NaN unknown.
        weights: (R, n) counts.

    Returns:
        (R,) float64; NaN where a resample holds no positive or no negative. Ties count one half.
    """
    known = np.flatnonzero(~np.isnan(labels))
    order = known[np.argsort(scores[known], kind="stable")]
    ranked, positive = scores[order], labels[order] == 1
    below = np.searchsorted(ranked, ranked[positive], "left")
    up_to = np.searchsorted(ranked, ranked[positive], "right")
    step = max(1, _CHUNK_CELLS // max(1, len(order)))
    parts = []
    for start in range(0, len(weights), step):
        chunk = weights[start : start + step, order].astype(np.float64)
        gains = chunk[:, positive]
        losses = np.zeros((len(chunk), len(order) + 1))
        np.cumsum(np.where(positive, 0.0, chunk), axis=1, out=losses[:, 1:])
        won = (gains * (losses[:, below] + losses[:, up_to])).sum(1) / 2
        pairs = gains.sum(1) * losses[:, -1]
        parts.append(np.divide(won, pairs, out=np.full(len(chunk), np.nan), where=pairs > 0))
    return np.concatenate(parts)


def r2_resamples(predicted: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return R² in every resample.

    Args:
        predicted: (n,) predictions.
        truth: (n,) values, NaN unknown.
        weights: (R, n) counts.

    Returns:
        (R,) float64; NaN where a resample holds no spread.
    """
    known = ~np.isnan(truth)
    counts = weights[:, known].astype(np.float64)
    y = truth[known].astype(np.float64)
    y = y - y.mean()  # keeps the variance below from cancelling
    residual = counts @ (y - (predicted[known] - truth[known].mean(dtype=np.float64))) ** 2
    total = counts.sum(1)
    centre = np.divide(counts @ y, total, out=np.zeros_like(total), where=total > 0)
    spread = counts @ y**2 - total * centre**2
    floor = 1e-12 * max(float((y**2).sum()), 1e-300)
    return 1 - np.divide(residual, spread, out=np.full(len(spread), np.nan), where=spread > floor)


def ratio_resamples(
    numerators: np.ndarray, denominators: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return Σ numerator / Σ denominator in every resample: a mean where the latter are 0 or 1.

    Args:
        numerators: (n,) a number a row.
        denominators: (n,) 0 or more.
        weights: (R, n) counts.

    Returns:
        (R,) float64; NaN where a resample's denominators sum to 0.
    """
    counted = np.flatnonzero((denominators != 0) | (numerators != 0))
    pair = np.stack([numerators[counted], denominators[counted]], 1).astype(np.float64)
    step = max(1, _CHUNK_CELLS // max(1, len(counted)))
    sums = np.concatenate(
        [
            weights[start : start + step, counted].astype(np.float64) @ pair
            for start in range(0, len(weights), step)
        ]
    )
    over, under = sums[:, 0], sums[:, 1]
    return np.divide(over, under, out=np.full(len(sums), np.nan), where=under > 0)


def interval(samples: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """Return the 2.5 and 97.5 % quantiles of resamples, without those that are NaN.

    Args:
        samples: (R,) float.
    """
    defined = samples[~np.isnan(samples)]
    if len(defined) == 0:
        return None, None
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)


def mean_over(samples: np.ndarray, axis: int) -> np.ndarray:
    """Mean that leaves NaN out and is NaN where nothing is left."""
    defined = ~np.isnan(samples)
    count = defined.sum(axis)
    total = np.where(defined, samples, 0).sum(axis)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
