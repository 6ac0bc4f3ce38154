"""COCO's 101-point average precision, also in every resample of the patients at once."""

import numpy as np

from mflag.downstream.detection.matching import Matches

RECALLS = np.linspace(0, 1, 101)
# Cells of one chunk of resamples: about 100 MB at work.
_CHUNK_CELLS = 4_000_000


def average_precisions(matches: Matches, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the average precision at each IoU threshold.

    A precision-recall curve over the predictions of all kept images, made monotonous and read at
    101 recalls (Lin et al. 2014, ``pycocotools``). An image that counts twice is the same as two
    such images.

    Args:
        matches: of n images.
        weights: (R, n) how often each image counts; None: once each.

    Returns:
        (R, T) float64; NaN where the kept images of a resample hold no true box.
    """
    if weights is None:
        weights = np.ones((1, len(matches.kept)), np.uint16)
    used = matches.kept[matches.image]
    order = np.flatnonzero(used)[np.argsort(-matches.scores[used], kind="stable")]
    hits, image = matches.hits[order], matches.image[order]
    step = max(1, _CHUNK_CELLS // max(1, len(order)))
    parts = [
        _of_resamples(weights[start : start + step].astype(np.float64), matches, hits, image)
        for start in range(0, len(weights), step)
    ]
    return np.concatenate(parts)


def _of_resamples(
    weights: np.ndarray, matches: Matches, hits: np.ndarray, image: np.ndarray
) -> np.ndarray:
    wanted = weights @ (matches.truths * matches.kept)
    scores = np.full((len(weights), hits.shape[1]), np.nan)
    seen = np.cumsum(weights[:, image], axis=1)
    for t in range(hits.shape[1]):
        places = np.flatnonzero(hits[:, t])  # precision is at its highest right after a hit
        found = np.cumsum(weights[:, image[places]], axis=1)
        scores[:, t] = _area(found, seen[:, places], wanted)
    return scores


def _area(found: np.ndarray, seen: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Mean over ``RECALLS`` of the highest precision at that recall or a higher one.

    Args:
        found: (R, k) hits up to each hit.
        seen: (R, k) predictions up to each hit.
        wanted: (R,) true boxes.
    """
    some = wanted > 0
    precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = found / np.where(some, wanted, 1)[:, None]
    reached = np.searchsorted(RECALLS, recall, "right")
    new = np.diff(reached, axis=1, prepend=0)  # recalls that this hit is the first to reach
    return np.where(some, (highest * new).sum(1) / len(RECALLS), np.nan)
