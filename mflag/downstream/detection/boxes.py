"""True boxes: ``lesions.parquet`` of prepared data, in shares of the image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mflag.data.manifest import IMAGE_SIZE, Prepared
from mflag.errors import InputError
from mflag.runtime.atomic_write import file_sha256

LESIONS = "lesions.parquet"
SIDES = ["x", "y", "width", "height"]
# Published boxes are scaled to the stored grid, which rounds.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class TrueBoxes:
    """The boxes of every image.

    Attributes:
        of_row: n read-only arrays (g, 4) float64: left, top, right, bottom, from 0 to 1.
        findings: what they mark, in alphabetical order.
    """

    of_row: Sequence[np.ndarray]
    findings: list[str]

    def of(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return the boxes of some images."""
        return [self.of_row[row] for row in rows]

    def counts(self, rows: np.ndarray) -> dict[str, int]:
        """Number of ``images``, of ``positive`` ones (with a box), and of ``boxes``."""
        numbers = np.array([len(self.of_row[row]) for row in rows], np.int64)
        positive = int((numbers > 0).sum())
        return {"images": len(rows), "positive": positive, "boxes": int(numbers.sum())}


def read_boxes(prepared: Prepared, finding: str | None) -> TrueBoxes:
    """Read the boxes around one finding, or around all lesions as one class.

    Args:
        prepared: the folder.
        finding: its name in the table; None takes every lesion, as RSNA's one class.

    Raises:
        InputError: no table, an altered or damaged one, an unknown finding, no box, or a box that
            lies outside of its image or has no area.
    """
    table = _read_table(prepared)
    found = sorted(table["finding"].astype(str).unique())
    if finding is not None:
        if finding not in found:
            raise InputError(
                f"task.finding is {finding!r}, of which {prepared.path / LESIONS} has no box; "
                f"choose one of {', '.join(found) or 'nothing'}, or null for all"
            )
        table = table[table["finding"] == finding]
    if table.empty:
        raise InputError(
            f"{prepared.path / LESIONS} has no boxes; prepare a dataset with boxes, such as "
            "dataset=rsna or dataset=phantom"
        )
    boxes = _checked(table, prepared)
    ids = prepared.column("id").to_pandas().astype(str)
    place = pd.Series(np.arange(len(ids)), ids).reindex(table["id"].astype(str))
    if place.isna().any():
        stranger = table["id"].iloc[int(place.isna().to_numpy().argmax())]
        raise InputError(
            f"{prepared.path / LESIONS} has a box of {stranger!r}, which is not in the manifest; "
            "prepare again"
        )
    return TrueBoxes(_by_row(boxes, place.to_numpy(np.int64), len(prepared)), found)


def _read_table(prepared: Prepared) -> pd.DataFrame:
    path = prepared.path / LESIONS
    if not path.is_file():
        dataset = prepared.info.get("dataset", "these data")
        raise InputError(
            f"{path} is missing: {dataset} came without boxes; prepare a dataset with boxes, such "
            "as dataset=rsna or dataset=phantom"
        )
    known = prepared.info["hashes"].get(LESIONS)
    if known is not None and file_sha256(path) != known:
        raise InputError(f"{path} was altered after prepare; run mflag.prepare again")
    try:
        return pd.read_parquet(path, columns=["id", "finding", *SIDES])
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} cannot be read ({reason}); run mflag.prepare again") from error


def _checked(table: pd.DataFrame, prepared: Prepared) -> np.ndarray:
    """(m, 4) left, top, right, bottom in shares of the image."""
    sides = table[SIDES].to_numpy(np.float64)
    corners = np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], 1)
    inside = ((corners >= -_TOLERANCE) & (corners <= IMAGE_SIZE + _TOLERANCE)).all(1)
    fine = inside & (sides[:, 2:] > 0).all(1)
    if not fine.all():
        first = int((~fine).argmax())
        values = ", ".join(f"{name} {v:g}" for name, v in zip(SIDES, sides[first], strict=True))
        what = "lies outside of its image" if (sides[first, 2:] > 0).all() else "has no area"
        raise InputError(
            f"a box of {table['id'].iloc[first]!r} in {prepared.path / LESIONS} {what} ({values} "
            f"on {IMAGE_SIZE} x {IMAGE_SIZE}; {int((~fine).sum())} such boxes); correct the "
            "dataset's boxes and prepare again"
        )
    return np.clip(corners / IMAGE_SIZE, 0, 1)


def _by_row(boxes: np.ndarray, place: np.ndarray, count: int) -> list[np.ndarray]:
    order = np.argsort(place, kind="stable")
    boxes = np.ascontiguousarray(boxes[order])
    boxes.flags.writeable = False  # who scales a label in place would shrink it at every reading
    return np.split(boxes, np.cumsum(np.bincount(place, minlength=count))[:-1])
