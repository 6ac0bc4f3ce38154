"""What else sets images apart: the view, the patient's sex and age."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mflag.data.manifest import Prepared

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Circumstance:
    """Groups of images.

    Attributes:
        name: ``view``, ``sex`` or ``age``.
        groups: (G) names: views and sexes by their number in train, the younger half of ``age``
            first; those without an entry are ``UNKNOWN``, at the end.
        of_row: (n,) int64 place in ``groups`` of each image.
    """

    name: str
    groups: list[str]
    of_row: np.ndarray


def circumstances(prepared: Prepared) -> list[Circumstance]:
    """Return those of ``view``, ``sex`` and ``age`` by which the training images differ."""
    train, manifest = prepared.rows("train"), prepared.manifest
    found = []
    for name in ("view", "sex", "age"):
        if name in manifest:
            grouped = _age_halves if name == "age" else _by_frequency
            groups, values = grouped(manifest[name], train)
            of_row = pd.Categorical(values, groups).codes.astype(np.int64)
            if len(np.unique(of_row[train])) > 1:
                found.append(Circumstance(name, groups, of_row))
    return found


def _by_frequency(column: pd.Series, train: np.ndarray) -> tuple[list[str], np.ndarray]:
    text = column.fillna("").astype(str)
    values = text.where(text != "", UNKNOWN).to_numpy(object)
    sizes = pd.Series(values[train]).value_counts()
    groups = sorted(set(values), key=lambda g: (g == UNKNOWN, -sizes.get(g, 0), g))
    return groups, values


def _age_halves(column: pd.Series, train: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Split at the median age of the training images."""
    years = column.to_numpy(np.float64)
    known = ~np.isnan(years)
    if not known[train].any():
        return [UNKNOWN], np.full(len(years), UNKNOWN, object)
    middle = float(np.median(years[train][known[train]]))
    names = [f"under {middle:g}", f"{middle:g} and over"]
    values = np.where(known, np.where(years < middle, *names), UNKNOWN)
    return names + [UNKNOWN] * bool((~known).any()), values
