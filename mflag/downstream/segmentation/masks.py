"""True masks: the lesions of one finding as foreground."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mflag.data.lesion_table import SIDES
from mflag.data.lesions import runs_to_mask
from mflag.data.manifest import IMAGE_SIZE, Prepared
from mflag.downstream.lesion_choice import choose_lesions


@dataclass(frozen=True)
class Masks:
    """The foreground of every image, on the 256 x 256 grid of ``lesions.parquet``.

    Attributes:
        finding: what is foreground; "all lesions" where nothing was chosen.
        names: findings of the lesions in it, in alphabetical order.
        known: (n,) bool; False where the label says that the finding is there, but nothing is
            drawn.
        place: (n,) int64, row in ``packed``; -1 for an empty mask.
        packed: (p, 8192) uint8, bits of the masks that are not empty.
    """

    finding: str
    names: list[str]
    known: np.ndarray
    place: np.ndarray
    packed: np.ndarray

    @property
    def is_positive(self) -> np.ndarray:
        """(n,) bool: the mask is not empty."""
        return self.place >= 0

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Return the masks of some images, (k, 256, 256) bool."""
        found = np.zeros((len(rows), IMAGE_SIZE, IMAGE_SIZE), bool)
        places = self.place[rows]
        drawn = np.flatnonzero(places >= 0)
        bits = np.unpackbits(self.packed[places[drawn]], axis=1)
        found[drawn] = bits.reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
        return found


def read_masks(prepared: Prepared, finding: str | None) -> Masks:
    """Draw every image's lesions of one finding into one mask.

    A box is filled.

    Args:
        prepared: the folder.
        finding: of ``choose_lesions``.

    Raises:
        InputError: of ``choose_lesions``.
    """
    chosen = choose_lesions(prepared, finding)
    place, packed = _draw(chosen.table, len(prepared))
    return Masks(chosen.finding, chosen.names, chosen.known, place, packed)


def resize_masks(masks: Tensor, size: int) -> Tensor:
    """Return masks (B, H, H) bool at (B, size, size) bool: the nearest pixel."""
    places = torch.arange(size, device=masks.device, dtype=torch.float64)
    nearest = ((places + 0.5) * masks.shape[-1] / size).long()
    return masks[:, nearest][:, :, nearest]


def box_to_mask(box: np.ndarray) -> np.ndarray:
    """Fill a box: pixels whose centre is inside, and one at least.

    Args:
        box: x, y, width, height in pixels of the 256 x 256 image, not rounded.
    """
    mask = np.zeros((IMAGE_SIZE, IMAGE_SIZE), bool)
    across, down = (_covered(box[axis], box[axis + 2]) for axis in (0, 1))
    mask[down, across] = True
    return mask


def _covered(start: float, length: float) -> slice:
    first, last = int(np.ceil(start - 0.5)), int(np.ceil(start + length - 0.5))
    if last <= first:  # between two centres: the pixel around its own
        first = int(start + length / 2)
        last = first + 1
    return slice(max(first, 0), min(last, IMAGE_SIZE))


def _draw(lesions: pd.DataFrame, count: int) -> tuple[np.ndarray, np.ndarray]:
    place = np.full(count, -1, np.int64)
    rows: list[object] = []
    packed: list[np.ndarray] = []
    for row, group in lesions.groupby("row"):
        mask = np.zeros((IMAGE_SIZE, IMAGE_SIZE), bool)
        boxes = group[list(SIDES)].to_numpy()
        for runs, box in zip(group["runs"], boxes, strict=True):
            mask |= runs_to_mask(runs, mask.shape) if len(runs) else box_to_mask(box)
        rows.append(row)
        packed.append(np.packbits(mask))
    place[np.array(rows, np.int64)] = np.arange(len(rows))
    return place, np.stack(packed)


def as_tensor(masks: np.ndarray, device: torch.device) -> Tensor:
    """Copy masks (B, H, W) bool to a device."""
    return torch.from_numpy(masks).to(device, non_blocking=True)
