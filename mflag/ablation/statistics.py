"""Means over training seeds, their intervals, and paired differences."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.stats import t

LEVEL = 0.95
INTERVAL = (
    "95 % interval of the mean over training seeds: Student's t with n - 1 degrees of freedom, of "
    "the score of each seed, itself a mean over its label draws; none below two seeds. All seeds "
    "share one set of test patients, whose sampling it does not cover: patients_half_width is the "
    "mean half-width of the single runs' bootstrap intervals over test patients. Differences are "
    "paired by training seed. Nothing is corrected for the number of variants."
)
# What a mean over seeds is taken within, in the order of the tables.
KEY = ("task", "protocol", "fraction", "metric")

Row = dict[str, Any]


def t_interval(values: Iterable[float]) -> tuple[float | None, float | None]:
    """Return Student's 95 % interval of the mean; None and None below two values."""
    sample = np.array(list(values), dtype=np.float64)
    if len(sample) < 2:
        return None, None
    half = t.ppf((1 + LEVEL) / 2, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample))
    return float(sample.mean() - half), float(sample.mean() + half)


def summarise(rows: list[Row]) -> list[Row]:
    """Return mean and interval over the training seeds of each variant and score."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault((row["variant"], *(row[name] for name in KEY)), []).append(row)
    return [
        dict(zip(("variant", *KEY), key, strict=True))
        | _mean([row["value"] for row in of_key])
        | {
            "n_train": of_key[0]["n_train"],
            "patients_half_width": _mean_known(row["patients_half_width"] for row in of_key),
        }
        for key, of_key in found.items()
    ]


def differences(rows: list[Row], reference: str) -> list[Row]:
    """Return each variant's score minus that of ``reference``, over the seeds that both have."""
    values = {
        (row["variant"], row["seed"], *(row[name] for name in KEY)): row["value"] for row in rows
    }
    pairs: dict[tuple[Any, ...], list[float]] = {}
    for (variant, seed, *key), value in values.items():
        other = values.get((reference, seed, *key))
        if variant != reference and other is not None:
            pairs.setdefault((variant, *key), []).append(value - other)
    return [
        dict(zip(("variant", *KEY), key, strict=True)) | {"minus": reference} | _mean(found)
        for key, found in pairs.items()
    ]


def _mean(values: list[float]) -> Row:
    low, high = t_interval(values)
    return {
        "value": float(np.mean(values)),
        "ci_low": low,
        "ci_high": high,
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "n": len(values),
    }


def _mean_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
