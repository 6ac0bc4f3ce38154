"""Dice in each published convention, from counts of pixels."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mflag.downstream.bootstrap import ratio_resamples

METRICS = ("dice_all", "dice_positive", "dice_pooled", "empty_specificity")


@dataclass(frozen=True)
class Counts:
    """Pixels of each image.

    Attributes:
        both: (n,) int64, predicted and true.
        predicted: (n,) int64.
        true: (n,) int64; 0 too where a small mask left no pixel at this size.
        has_mask: (n,) bool, of the stored mask: the same images at every size.
    """

    both: np.ndarray
    predicted: np.ndarray
    true: np.ndarray
    has_mask: np.ndarray

    def part(self, chosen: np.ndarray) -> "Counts":
        """Return the counts of some images."""
        return Counts(*(values[chosen] for values in vars(self).values()))


def count_pixels(predicted: Tensor, true: Tensor) -> np.ndarray:
    """Return the pixels that ``Counts`` holds of a batch.

    Args:
        predicted: (B, H, W) bool.
        true: (B, H, W) bool.

    Returns:
        (3, B) int64: both, predicted, true.
    """
    sums = [mask.flatten(1).sum(1) for mask in (predicted & true, predicted, true)]
    return np.stack([values.cpu().numpy() for values in sums])


def image_dice(counts: Counts) -> np.ndarray:
    """Return 2·both / (predicted + true) of each image, (n,) float64; 1 where both are empty."""
    total = counts.predicted + counts.true
    empty = (~counts.has_mask).astype(np.float64)  # a mask too small for this size is missed
    return np.divide(2.0 * counts.both, total, out=empty, where=total > 0)


def fraction_of(counts: Counts, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) float64 numerators and denominators of which a metric is the ratio of sums.

    Args:
        counts: of each image.
        metric: ``dice_all``: mean of ``image_dice`` (as MGCA and GLoRIA: an empty prediction of an
            empty mask counts 1, any other 0); ``dice_positive``: the same over images with a mask;
            ``dice_pooled``: over the pixels of all images at once; ``empty_specificity``: share of
            images without mask of which nothing is predicted.
    """
    is_positive = counts.has_mask.astype(np.float64)
    parts: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
        "dice_all": lambda: (image_dice(counts), np.ones(len(is_positive))),
        "dice_positive": lambda: (image_dice(counts) * is_positive, is_positive),
        "dice_pooled": lambda: (2.0 * counts.both, (counts.predicted + counts.true).astype(float)),
        "empty_specificity": lambda: (
            (counts.predicted == 0) * (1 - is_positive),
            1 - is_positive,
        ),
    }
    return parts[metric]()


def score(counts: Counts, metric: str) -> float:
    """Return a metric; NaN where no image defines it."""
    over, under = fraction_of(counts, metric)
    total = under.sum(dtype=np.float64)
    return float(over.sum(dtype=np.float64) / total) if total > 0 else float("nan")


def resamples(counts: Counts, metric: str, weights: np.ndarray) -> np.ndarray:
    """Return a metric in every resample of the images' weights (R, n); NaN where undefined."""
    return ratio_resamples(*fraction_of(counts, metric), weights)


def all_empty(true: np.ndarray, has_mask: np.ndarray) -> Counts:
    """Counts of a predictor that finds nothing, given the (n,) true pixels."""
    nothing = np.zeros_like(true)
    return Counts(nothing, nothing, true, has_mask)


def all_ones(true: np.ndarray, has_mask: np.ndarray, pixels: int) -> Counts:
    """Counts of a predictor that marks each of an image's ``pixels``."""
    return Counts(true, np.full_like(true, pixels), true, has_mask)
