"""SIIM-ACR Pneumothorax's train-rle.csv."""

from pathlib import Path

import pandas as pd

from mflag.data.datasets.label_tables import BROKEN_TABLE, read_label_table, refuse_values
from mflag.data.run_lengths import NO_MASK, RunLengthError, parse_runs
from mflag.errors import InputError

_RELEASE = "SIIM-ACR Pneumothorax, stage 1 (train-rle.csv)"
_MASKS = "EncodedPixels"


def read_siim_masks(path: Path) -> pd.DataFrame:
    """Read the table: a row a mask, or one row with ``-1`` for an image without.

    Args:
        path: CSV, also packed by gzip or zip; its second column is called `` EncodedPixels`` with
            or without the blank, and ``-1`` too comes with a blank before it or without.

    Returns:
        ``id`` and ``mask`` (str, stripped), in the file's order.

    Raises:
        InputError: another release, a blank id, a mask that is malformed, or an image with and
            without mask.
    """
    raw = read_label_table(path, ("ImageId", _mask_column(path)), _RELEASE)
    is_blank = raw["ImageId"].isna() | (raw["ImageId"].astype(str).str.strip() == "")
    refuse_values(raw["ImageId"], is_blank, path, "an id")
    table = pd.DataFrame(
        {
            "id": raw["ImageId"].astype(str).str.strip(),
            "mask": raw.iloc[:, 1].fillna("").astype(str).str.strip(),
        }
    )
    for row, text in enumerate(table["mask"]):
        try:
            parse_runs(text)
        except RunLengthError as error:
            raise InputError(
                f"the mask of {table['id'].iloc[row]} in row {row + 1} of {path} is malformed: "
                f"{error}; download the table again"
            ) from error
    is_empty = (table["mask"] == NO_MASK).groupby(table["id"]).agg(["any", "all"])
    both = is_empty.index[is_empty["any"] & ~is_empty["all"]]
    if len(both):
        raise InputError(
            f"{both[0]} has both a mask and {NO_MASK} in {path} ({len(both)} such images); "
            f"it should be {_RELEASE}"
        )
    return table


def images_of(masks: pd.DataFrame) -> pd.DataFrame:
    """A row an image, in the order of its first mask: ``id``, ``target`` (1 with a mask)."""
    first = masks.drop_duplicates("id")
    return pd.DataFrame({"id": first["id"], "target": (first["mask"] != NO_MASK).astype(int)})


def _mask_column(path: Path) -> str:
    try:
        names = pd.read_csv(path, nrows=0, index_col=False, encoding="utf-8-sig").columns
    except BROKEN_TABLE:  # read_label_table says what is wrong
        return _MASKS
    return next((str(name) for name in names if str(name).strip() == _MASKS), f" {_MASKS}")
