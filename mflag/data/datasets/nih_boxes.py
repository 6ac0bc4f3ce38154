"""NIH ChestX-ray14's BBox_List_2017.csv."""

from pathlib import Path

import pandas as pd

from mflag.data.datasets.label_tables import read_label_table, refuse_values
from mflag.data.datasets.nih_table import LABELS
from mflag.data.images import square_box
from mflag.errors import InputError

# Boxes are in pixels of the released images, also where smaller copies of these are on disk.
SOURCE_SIZE = 1024
_SIDES = ("Bbox [x", "y", "w", "h]")  # the header's bracket holds commas
_OTHER_NAMES = {"Infiltrate": "Infiltration"}


def read_nih_boxes(path: Path, images: pd.Series) -> pd.DataFrame:
    """Read the boxes as rows of ``lesions.parquet``.

    Args:
        path: the file; also packed by gzip.
        images: ids of the label table.

    Returns:
        A row a box: ``id``, ``finding`` (a name of the label table), ``x``, ``y``, ``width``,
        ``height`` in pixels of the 256 x 256 image, and ``source_box`` [x, y, w, h],
        ``source_height``, ``source_width`` in those of the released one. ``laterality``,
        ``zone``, ``severity`` and ``runs`` are empty: nothing is published.

    Raises:
        InputError: another release, an unknown image or finding, or a box outside or of no size.
    """
    raw = read_label_table(path, ("Image Index", "Finding Label", *_SIDES), "BBox_List_2017")
    finding = raw["Finding Label"].replace(_OTHER_NAMES)
    refuse_values(raw["Finding Label"], ~finding.isin(LABELS), path, ", ".join(LABELS))
    wanted = "an image of the label table"
    place = pd.Series(pd.Index(images).get_indexer(raw["Image Index"]))
    refuse_values(raw["Image Index"], place < 0, path, wanted)
    box = raw[list(_SIDES)].apply(pd.to_numeric, errors="coerce").astype(float)
    box.columns = ["x", "y", "width", "height"]
    _refuse_outside(box, raw["Image Index"], path)
    empty: list[list[int]] = [[] for _ in range(len(raw))]
    squared = [square_box(row, SOURCE_SIZE, SOURCE_SIZE) for row in box.to_numpy()]
    placed = pd.DataFrame(squared, columns=box.columns, dtype=float)
    return pd.DataFrame(
        {
            "id": raw["Image Index"],
            "finding": finding,
            "laterality": "",
            "zone": "",
            "severity": "",
            **{name: placed[name] for name in placed},
            "runs": empty,
            "source_box": box.to_numpy().tolist(),
            "source_height": SOURCE_SIZE,
            "source_width": SOURCE_SIZE,
        }
    )


def _refuse_outside(box: pd.DataFrame, images: pd.Series, path: Path) -> None:
    is_inside = (
        (box["x"] >= 0) & (box["y"] >= 0) & (box["width"] > 0) & (box["height"] > 0)
        & (box["x"] + box["width"] <= SOURCE_SIZE) & (box["y"] + box["height"] <= SOURCE_SIZE)
    )  # fmt: skip
    if not is_inside.all():
        row = int((~is_inside).to_numpy().argmax())
        raise InputError(
            f"box {box.iloc[row].tolist()} of {images.iloc[row]} in row {row + 1} of {path} is no "
            f"[x, y, w, h] inside {SOURCE_SIZE} x {SOURCE_SIZE} pixels ({int((~is_inside).sum())} "
            "such rows); download the file again"
        )
