"""Splits of SIIM-ACR Pneumothorax: by image, by row as MGCA and GLoRIA, by patient."""

import numpy as np
import pandas as pd

from mflag.data.datasets.challenge_splits import paper_held_out, shuffled_split
from mflag.data.leaks import find_leaks
from mflag.data.splits import split_by_patient

SPLITS = ("ids", "ids_sorted", "mgca_rows", "patient", "id_lists")
IMAGES = 12_047
BALANCE_SEED = 42


def named_split(masks: pd.DataFrame, table: pd.DataFrame, scheme: str) -> tuple[pd.Series, str]:
    """Split images.

    Args:
        masks: a row a mask, with ``id``, in the file's order.
        table: a row an image, with ``id`` and ``patient``, in the order of its first mask.
        scheme: ``ids`` (8,433 / 1,807 / 1,807, the paper's sizes: ids in the file's order),
            ``ids_sorted`` (the same sizes, sorted ids), ``mgca_rows`` (MGCA's and GLoRIA's
            shuffle of rows, which leaks) or ``patient`` (80/10/10).

    Returns:
        train, valid or test of each image, and a line for people about what leaks, or "".
    """
    if scheme == "patient":
        return pd.Series(split_by_patient(table["patient"]), table.index, dtype=object), ""
    if scheme == "mgca_rows":
        return _split_rows(masks, table)
    held_out = paper_held_out(len(table), 0.15)
    parts = shuffled_split(len(table), held_out, "images")
    ordered = table["id"] if scheme == "ids" else table["id"].sort_values()
    return pd.Series(parts, ordered.index, dtype=object).reindex(table.index), ""


def row_split(masks: pd.DataFrame) -> pd.DataFrame:
    """MGCA's and GLoRIA's split: it shuffles rows, so an image of several masks may fall apart.

    Returns:
        ``id``, ``patient`` (the same) and ``split`` of each row.
    """
    split = shuffled_split(len(masks), 0.3, "rows")
    return pd.DataFrame({"id": masks["id"], "patient": masks["id"], "split": split})


def balance_train(table: pd.DataFrame) -> np.ndarray:
    """Keep as many training images without a mask as there are with one, drawn with seed 42.

    Args:
        table: ``id``, ``target`` and ``split``.

    Returns:
        (n,) bool; valid and test are kept whole.
    """
    is_train = table["split"] == "train"
    negatives = table["id"][is_train & (table["target"] == 0)].sort_values()
    positives = int((is_train & (table["target"] == 1)).sum())
    order = np.random.default_rng(BALANCE_SEED).permutation(len(negatives))
    dropped = negatives.to_numpy(object)[order[positives:]]
    return ~table["id"].isin(dropped).to_numpy()


def _split_rows(masks: pd.DataFrame, table: pd.DataFrame) -> tuple[pd.Series, str]:
    rows = row_split(masks)
    first = rows.drop_duplicates("id").set_index("id")["split"]
    several = int((rows.groupby("id")["split"].nunique() > 1).sum())
    shared = ", ".join(
        f"{leak.source} and {leak.target} {leak.images:,}" for leak in find_leaks(rows)
    )
    remark = (
        f"warning: split mgca_rows shuffles rows, not images: {several:,} images with several "
        f"masks are in more than one part ({shared or 'none'}). Here such an image goes to the "
        "part of its first row, with all its masks, so results differ from published ones"
    )
    return table["id"].map(first), remark
