"""Run-length masks as SIIM-ACR Pneumothorax publishes them.

A mask is ``offset length offset length ...``; each offset counts from the end of the run before it,
along the image's columns: down the first column, then down the second. No mask is ``-1``.
"""

from collections.abc import Iterable

import numpy as np

NO_MASK = "-1"


class RunLengthError(ValueError):
    """The text is no mask, or none of this image; the message says why."""


def parse_runs(text: str) -> np.ndarray:
    """Read the numbers of a mask.

    Args:
        text: as published; blanks around it do not matter.

    Returns:
        (runs, 2) int64: offset and length; (0, 2) for ``-1``.

    Raises:
        RunLengthError: a word is no number, a number is missing, negative or, for a length, 0.
    """
    if text.strip() == NO_MASK:
        return np.zeros((0, 2), np.int64)
    words = text.split()
    wrong = next((word for word in words if not (word.isascii() and word.isdigit())), None)
    if wrong is not None:
        raise RunLengthError(f"{wrong!r} is no offset or length")
    if not words or len(words) % 2:
        raise RunLengthError(f"{len(words)} numbers are no pairs of offset and length")
    if max(map(len, words)) > 9:  # more than any image has; also keeps sums within int64
        raise RunLengthError("a number has more than 9 digits")
    runs = np.array(words, np.int64).reshape(-1, 2)
    if not runs[:, 1].all():
        raise RunLengthError("a run has length 0")
    return runs


def decode_mask(text: str, height: int, width: int) -> np.ndarray:
    """Draw a mask.

    Args:
        text: as published.
        height: of the image it was drawn on.
        width: of that image.

    Returns:
        (height, width) bool.

    Raises:
        RunLengthError: malformed, or it leaves the image.
    """
    runs = parse_runs(text)
    end = int(runs.sum())
    if end > height * width:
        raise RunLengthError(
            f"the last run ends at pixel {end:,} of {height * width:,} ({height} x {width})"
        )
    flat = np.zeros(height * width, bool)
    ends = runs.sum(1).cumsum()
    for start, stop in zip((ends - runs[:, 1]).tolist(), ends.tolist(), strict=True):
        flat[start:stop] = True
    return flat.reshape(width, height).T


def unite_masks(texts: Iterable[str], height: int, width: int) -> np.ndarray:
    """Draw all masks of an image into one; those of 183 SIIM images overlap.

    Args:
        texts: as published.
        height: of the image.
        width: of the image.

    Returns:
        (height, width) bool.

    Raises:
        RunLengthError: one is malformed, or leaves the image.
    """
    union = np.zeros((width, height), bool).T  # laid out as the masks are
    for text in texts:
        union |= decode_mask(text, height, width)
    return union


def encode_mask(mask: np.ndarray) -> str:
    """Write a mask as ``decode_mask`` reads it.

    Args:
        mask: (H, W) bool.
    """
    flat = np.concatenate(([False], mask.T.ravel(), [False]))
    edges = np.flatnonzero(flat[1:] != flat[:-1])  # starts and ends take turns
    steps = np.diff(edges, prepend=0)
    return " ".join(map(str, steps)) if len(steps) else NO_MASK
