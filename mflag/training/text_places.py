"""Which text belongs to which image of a batch, decided on the host before the step."""

from typing import NamedTuple

import torch
from torch import Tensor

from mflag.runtime.transfer import send


class TextPlaces(NamedTuple):
    """Where the texts of a batch are.

    Attributes:
        rows: int64 rows of the text table; (B,), or (K,) with ``picked``.
        known: (B,) bool, which images have a text; None: all, or those of ``picked``.
        picked: (K,) int64, the images that have a text, in order; None: all B are in ``rows``.
    """

    rows: Tensor
    known: Tensor | None = None
    picked: Tensor | None = None

    def to(self, device: torch.device) -> "TextPlaces":
        """Copy to a device, without a wait."""
        return TextPlaces(*(None if x is None else send(x, device) for x in self))  # type: ignore[arg-type]


def place_texts(text_rows: Tensor, *, picks: bool, has_gaps: bool | None = None) -> TextPlaces:
    """Sort out the images without a text.

    Args:
        text_rows: (B,) int64 on the CPU; -1 where an image has none.
        picks: with gaps, give the K images with a text instead of B rows and a mask: what a
            projection with BatchNorm needs. K changes from batch to batch, B does not.
        has_gaps: whether any image of the run lacks a text; None looks at this batch.
    """
    known = text_rows >= 0
    if has_gaps is None:
        has_gaps = not bool(known.all())
    if not has_gaps:
        return TextPlaces(text_rows)
    if picks:
        return TextPlaces(text_rows[known], None, known.nonzero()[:, 0])
    return TextPlaces(text_rows.clamp(min=0), known)
