"""The two ways in which mAP is measured: as published (``mgca``), and on every image (``full``)."""

from dataclasses import dataclass

import numpy as np
import torch
from torchvision.ops import nms

from mflag.downstream.detection.average_precision import average_precisions
from mflag.downstream.detection.matching import Matches, Predictions, match

NMS_IOU = 0.5
SURE = 0.5
SCORE_FLOOR = 0.001
MAX_DETECTIONS = 100


@dataclass(frozen=True)
class Judged:
    """Predictions of test or valid images beside the true boxes.

    Attributes:
        full: every image counts, with up to ``MAX_DETECTIONS`` predictions above ``SCORE_FLOOR``.
        mgca: only predictions of ``SURE`` or more, and only images that have one and a true box.
        predictions: those of ``full``.
    """

    full: Matches
    mgca: Matches
    predictions: Predictions

    @property
    def kept(self) -> int:
        """Number of images that ``mgca`` looks at."""
        return int(self.mgca.kept.sum())


def judge(predicted: Predictions, truths: list[np.ndarray]) -> Judged:
    """Match predictions, as ``suppress`` left them, under both protocols.

    Args:
        predicted: of n images.
        truths: n arrays (g, 4) of true boxes.

    Raises:
        InputError: a prediction is NaN or infinite.
    """
    full = match(predicted, truths)
    sure = full.scores >= SURE  # matching goes by score, so less sure ones changed nothing
    has_sure = np.bincount(full.image[sure], minlength=len(truths)) > 0
    mgca = Matches(
        full.image[sure],
        full.scores[sure],
        full.hits[sure],
        full.truths,
        has_sure & (full.truths > 0),
    )
    return Judged(full, mgca, predicted)


def mean_average_precision(matches: Matches, weights: np.ndarray | None = None) -> np.ndarray:
    """Return mAP over ``IOU_THRESHOLDS``, and after it the AP at each.

    Args:
        matches: of n images.
        weights: (R, n) how often each image counts; None: once each.

    Returns:
        (R, 1 + T) float64: 0 where the protocol keeps no image, because nothing was found. NaN in
        resamples whose kept images hold no true box.
    """
    each = average_precisions(matches, weights)
    if not matches.kept.any():
        each = np.zeros_like(each)
    return np.concatenate([each.mean(1, keepdims=True), each], 1)


def suppress(boxes: np.ndarray, scores: np.ndarray) -> Predictions:
    """Drop predictions below ``SCORE_FLOOR``, those that a surer one overlaps, and the last ones.

    Args:
        boxes: (n, a, 4) float predicted boxes of n images: left, top, right, bottom.
        scores: (n, a) float.

    Returns:
        At most ``MAX_DETECTIONS`` an image, the surest first.
    """
    image, kept = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for k, (box, score) in enumerate(zip(boxes, scores, strict=True)):
        places = np.flatnonzero(score >= SCORE_FLOOR)
        found = nms(torch.from_numpy(box[places]), torch.from_numpy(score[places]), NMS_IOU)
        chosen = places[found.numpy()[:MAX_DETECTIONS]]
        image.append(np.full(len(chosen), k, np.int64))
        kept.append(chosen)
    of, place = np.concatenate(image), np.concatenate(kept)
    return Predictions(
        of, boxes[of, place].astype(np.float64), scores[of, place].astype(np.float64)
    )


def constant_predictions(count: int, box: np.ndarray, score: float) -> Predictions:
    """The same box and score in each of ``count`` images."""
    return Predictions(np.arange(count), np.tile(box, (count, 1)), np.full(count, score))
