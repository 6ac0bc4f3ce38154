"""True boxes: the lesions of one finding, in shares of the image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mflag.data.lesion_table import SIDES
from mflag.data.manifest import IMAGE_SIZE, Prepared
from mflag.downstream.lesion_choice import choose_lesions


@dataclass(frozen=True)
class TrueBoxes:
    """The boxes of every image.

    Attributes:
        of_row: n read-only arrays (g, 4) float64: left, top, right, bottom, from 0 to 1.
        finding: what they mark; "all lesions" where nothing was chosen.
        names: findings of the lesions, in alphabetical order.
        known: (n,) bool; False where the label says that the finding is there, but there is no box.
    """

    of_row: Sequence[np.ndarray]
    finding: str
    names: list[str]
    known: np.ndarray

    def of(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return the boxes of some images."""
        return [self.of_row[row] for row in rows]

    def counts(self, rows: np.ndarray) -> dict[str, int]:
        """Number of ``images``, of ``positive`` ones (with a box), and of ``boxes``.

        Images of which no box is known are in none of them, but in ``unknown``.
        """
        numbers = np.array([len(self.of_row[row]) for row in rows[self.known[rows]]], np.int64)
        return {
            "images": len(numbers),
            "positive": int((numbers > 0).sum()),
            "boxes": int(numbers.sum()),
            "unknown": len(rows) - len(numbers),
        }


def read_boxes(prepared: Prepared, finding: str | None) -> TrueBoxes:
    """Read the boxes around the lesions of one finding, as one class.

    Args:
        prepared: the folder.
        finding: of ``choose_lesions``.

    Raises:
        InputError: of ``choose_lesions``.
    """
    chosen = choose_lesions(prepared, finding)
    sides = chosen.table[list(SIDES)].to_numpy(np.float64)
    corners = np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], 1)
    boxes = np.clip(corners / IMAGE_SIZE, 0, 1)
    by_row = _by_row(boxes, chosen.table["row"].to_numpy(np.int64), len(prepared))
    return TrueBoxes(by_row, chosen.finding, chosen.names, chosen.known)


def _by_row(boxes: np.ndarray, place: np.ndarray, count: int) -> list[np.ndarray]:
    boxes = np.ascontiguousarray(boxes[np.argsort(place, kind="stable")])
    boxes.flags.writeable = False  # who scales a label in place would shrink it at every reading
    return np.split(boxes, np.cumsum(np.bincount(place, minlength=count))[:-1])
