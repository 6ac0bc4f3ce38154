"""RSNA's stage_2_train_labels.csv and stage_2_detailed_class_info.csv."""

from pathlib import Path

import pandas as pd

from mflag.data.datasets.label_tables import read_label_table, refuse_values
from mflag.errors import InputError

SIDES = ("x", "y", "width", "height")
CLASSES = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")
_RELEASE = "the RSNA Pneumonia Detection Challenge, stage 2"


def read_rsna_boxes(path: Path) -> pd.DataFrame:
    """Read the table of boxes: a row a box, or a row without box for a negative image.

    Args:
        path: CSV, also packed by gzip or zip.

    Returns:
        ``id`` (str), ``x``, ``y``, ``width``, ``height`` (float, top left corner and size in
        pixels; NaN where ``Target`` is 0) and ``Target`` (0 or 1).

    Raises:
        InputError: another release, or a value that no release has; it names the row.
    """
    raw = read_label_table(path, ("patientId", *SIDES, "Target"), _RELEASE)
    refuse_values(raw["patientId"], raw["patientId"].isna(), path, "an id")
    refuse_values(raw["Target"], ~raw["Target"].isin([0, 1]), path, "0 or 1")
    box = raw[list(SIDES)].apply(pd.to_numeric, errors="coerce")
    is_positive = raw["Target"] == 1
    for name in SIDES:
        is_size = name in ("width", "height")
        is_bad = ~(box[name] > 0 if is_size else box[name] >= 0) & is_positive
        wanted = "more than 0" if is_size else "0 or more"
        refuse_values(raw[name], is_bad, path, f"{wanted} where Target is 1")
        refuse_values(raw[name], raw[name].notna() & ~is_positive, path, "empty where Target is 0")
    table = box.assign(id=raw["patientId"].astype(str), Target=raw["Target"].astype(int))
    targets = table.groupby("id")["Target"].nunique()
    both = targets.index[targets > 1]
    if len(both):
        raise InputError(
            f"patientId {both[0]!r} has Target 0 and 1 in {path} ({len(both)} such images); "
            f"it should be {_RELEASE}"
        )
    return table[["id", *SIDES, "Target"]]


def images_of(boxes: pd.DataFrame) -> pd.DataFrame:
    """A row an image, in the order of its first box: ``id``, ``patient`` (the same), ``target``."""
    first = boxes.drop_duplicates("id")
    return pd.DataFrame({"id": first["id"], "patient": first["id"], "target": first["Target"]})


def add_classes(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Append ``class``, the radiologists' three classes, from the second table.

    Raises:
        InputError: another release, or the two tables do not belong together.
    """
    raw = read_label_table(path, ("patientId", "class"), _RELEASE)
    refuse_values(raw["class"], ~raw["class"].isin(CLASSES), path, ", ".join(CLASSES))
    pairs = raw.assign(patientId=raw["patientId"].astype(str)).drop_duplicates()
    twice = pairs["patientId"].duplicated()
    refuse_values(pairs["patientId"], twice, path, "one class an image")
    of_image = pairs.set_index("patientId")["class"]
    found = table["id"].map(of_image)
    is_wrong = found.isna() | ((found == "Lung Opacity") != (table["target"] == 1))
    if is_wrong.any():
        image = table["id"][is_wrong].iloc[0]
        raise InputError(
            f"{path} gives class {of_image.get(image)!r} to {image!r}, whose Target is "
            f"{table['target'][is_wrong].iloc[0]} ({int(is_wrong.sum()):,} such images); "
            "take both tables from one release, or leave this one out"
        )
    return table.assign(**{"class": found})
