"""Which predicted boxes hit a true one: COCO's greedy matching, of all images at once."""

from dataclasses import dataclass

import numpy as np

from mflag.errors import InputError

IOU_THRESHOLDS = (0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75)


@dataclass(frozen=True)
class Predictions:
    """Predicted boxes of some images, the surest of each image first.

    Attributes:
        image: (d,) int64 place of the image, ascending.
        boxes: (d, 4) float64 left, top, right, bottom; any unit that the true boxes share.
        scores: (d,) float64, descending within an image.
    """

    image: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    def where(self, keep: np.ndarray) -> "Predictions":
        """Return those of ``keep`` (d,) bool."""
        return Predictions(self.image[keep], self.boxes[keep], self.scores[keep])


@dataclass(frozen=True)
class Matches:
    """What average precision needs to know of predictions.

    Attributes:
        image: (d,) int64 place of the image of each prediction.
        scores: (d,) float64.
        hits: (d, T) bool: it is the best free prediction of a true box at that IoU threshold.
        truths: (n,) int64 number of true boxes of each image.
        kept: (n,) bool: images that the protocol looks at.
    """

    image: np.ndarray
    scores: np.ndarray
    hits: np.ndarray
    truths: np.ndarray
    kept: np.ndarray


def match(
    predicted: Predictions,
    truths: list[np.ndarray],
    thresholds: tuple[float, ...] = IOU_THRESHOLDS,
) -> Matches:
    """Give each prediction, the surest first, the free true box that it overlaps most.

    As ``pycocotools`` does: a prediction takes the true box of the highest IoU among those that
    reach the threshold and that no surer prediction of the image took.

    Args:
        predicted: of n images.
        truths: n arrays (g, 4) of true boxes.
        thresholds: T least IoUs.

    Raises:
        InputError: a score or a box is no finite number.
    """
    if not (np.isfinite(predicted.boxes).all() and np.isfinite(predicted.scores).all()):
        raise InputError("a predicted box or score is NaN or infinite; give a smaller task.lr")
    counts = np.array([len(boxes) for boxes in truths], np.int64)
    hits = np.zeros((len(predicted.scores), len(thresholds)), bool)
    rank = _rank_within(predicted.image)
    free = _padded(truths, counts)  # (n, G, 4), NaN where there is no box
    open_ = np.repeat(~np.isnan(free[:, None, :, 0]), len(thresholds), axis=1)  # (n, T, G)
    least = np.array(thresholds)[None, :, None]
    worth = np.flatnonzero(counts[predicted.image] > 0)
    by_rank = np.split(
        worth[np.argsort(rank[worth], kind="stable")],
        np.cumsum(np.bincount(rank[worth]))[:-1] if len(worth) else [],
    )
    for group in by_rank:  # at most one prediction an image
        where = predicted.image[group]
        overlap = iou(predicted.boxes[group][:, None], free[where])[:, None, :]  # (k, 1, G)
        allowed = open_[where] & (overlap >= least)
        # the last of equal overlaps, as pycocotools
        order = np.where(allowed, overlap, -1.0)[..., ::-1]
        best = free.shape[1] - 1 - order.argmax(-1)  # (k, T)
        found = allowed.any(-1)
        hits[group] = found
        k, t = np.nonzero(found)
        open_[where[k], t, best[k, t]] = False
    return Matches(
        predicted.image, predicted.scores, hits, counts, np.ones(len(truths), bool)
    )  # fmt: skip


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return intersection over union of boxes (..., 4); 0 where both have no area."""
    overlap = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.clip(overlap, 0, None).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0)


def _rank_within(image: np.ndarray) -> np.ndarray:
    """(d,) place of each prediction within its image; ``image`` is ascending."""
    return np.arange(len(image)) - np.searchsorted(image, image, "left")


def _padded(truths: list[np.ndarray], counts: np.ndarray) -> np.ndarray:
    """(n, G, 4) true boxes, G at least 1."""
    padded = np.full((len(truths), max(1, int(counts.max(initial=0))), 4), np.nan)
    for boxes, row in zip(truths, padded, strict=True):
        row[: len(boxes)] = boxes
    return padded
