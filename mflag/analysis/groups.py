"""What the points of a picture can be coloured by: findings, views, attributes."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from mflag.data.manifest import ATTRIBUTE_PREFIX, LABEL_PREFIX, Prepared

UNKNOWN = "unknown"
_FINDINGS = {1.0: "present", 0.0: "absent", -1.0: "uncertain"}
_QUARTERS = ["lowest quarter", "second quarter", "third quarter", "highest quarter"]
# More would have no colours of their own.
_MOST_VALUES = 6


@dataclass(frozen=True)
class Grouping:
    """One way to colour points.

    Attributes:
        name: of the column.
        kind: ``finding``, ``circumstance`` or ``attribute``.
        values: names of the groups; ``UNKNOWN``, if there, is last.
        is_ordered: the groups are quarters of a quantity.
        of_point: (n) place in ``values``.
    """

    name: str
    kind: str
    values: list[str]
    is_ordered: bool
    of_point: list[int]

    def as_dict(self) -> dict[str, Any]:
        """The grouping for JSON."""
        return asdict(self)


def groupings(prepared: Prepared, rows: np.ndarray) -> list[Grouping]:
    """Return every column by which some images differ.

    Args:
        prepared: its labels (before any label policy), attributes, view, sex and age.
        rows: (n,) row numbers.
    """
    labels = prepared.values(LABEL_PREFIX)[rows]
    attributes = prepared.values(ATTRIBUTE_PREFIX)[rows]
    table = prepared.manifest.iloc[rows]
    found = [_finding(name, labels[:, k]) for k, name in enumerate(prepared.labels)]
    found += [
        _grouping(name, "circumstance", _words(table[name])) for name in ("view", "sex")
        if name in table
    ]  # fmt: skip
    if "age" in table:
        found.append(_quarters("age", "circumstance", table["age"].to_numpy(np.float64)))
    found += [
        _quarters(name, "attribute", attributes[:, k]) for k, name in enumerate(prepared.attributes)
    ]
    return [grouping for grouping in found if len(set(grouping.of_point)) > 1]


def _finding(name: str, values: np.ndarray) -> Grouping:
    words = [_FINDINGS.get(float(value), UNKNOWN) for value in values]
    order = [*_FINDINGS.values(), UNKNOWN]
    kept = [word for word in order if word in words]
    return Grouping(name, "finding", kept, False, [kept.index(word) for word in words])


def _grouping(name: str, kind: str, words: list[str]) -> Grouping:
    sizes = pd.Series(words).value_counts()
    kept = [word for word in sizes.index if word != UNKNOWN][:_MOST_VALUES]
    rest = "other" if len(sizes.drop(UNKNOWN, errors="ignore")) > len(kept) else UNKNOWN
    if set(words) - set(kept):
        kept.append(rest)
    places = {word: k for k, word in enumerate(kept)}
    return Grouping(name, kind, kept, False, [places.get(w, len(kept) - 1) for w in words])


def _words(column: pd.Series) -> list[str]:
    return [str(word) or UNKNOWN for word in column.fillna("")]


def _quarters(name: str, kind: str, values: np.ndarray) -> Grouping:
    known = np.isfinite(values)
    if not known.any():
        return Grouping(name, kind, [UNKNOWN], True, [0] * len(values))
    edges = np.quantile(values[known], [0.25, 0.5, 0.75])
    codes = np.where(known, np.searchsorted(edges, values, "right"), len(_QUARTERS))
    names = _QUARTERS + [UNKNOWN] * bool((~known).any())
    return Grouping(name, kind, names, True, codes.astype(int).tolist())
