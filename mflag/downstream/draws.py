"""Which labelled rows a fraction and a seed stand for."""

import math
from typing import Any

import numpy as np

from mflag.errors import InputError


def check_fractions(fraction: Any) -> list[float]:
    """Return the fractions in ascending order.

    Args:
        fraction: a number or a list of numbers.

    Raises:
        InputError: none is given, or one lies outside (0, 1].
    """
    values = fraction if isinstance(fraction, list) else [fraction]
    if not values:
        raise InputError("fraction is []; give shares of the labelled rows such as [0.01,0.1,1.0]")
    for value in values:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value <= 1:
            raise InputError(f"fraction is {value!r}; give numbers above 0 and up to 1")
    return sorted({float(value) for value in values})


def draws_of(fractions: list[float], seeds: int) -> list[tuple[float, int]]:
    """Return (fraction, seed) pairs: ``seeds`` draws a fraction, one where all rows are taken."""
    return [(f, seed) for f in fractions for seed in range(1 if f == 1 else seeds)]


def draw_rows(train_rows: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Return the labelled rows, ascending.

    Args:
        train_rows: (n,) row numbers of the train split.
        fraction: share of them, in (0, 1].
        seed: of the permutation whose beginning is taken, so a smaller fraction of the same seed is
            a part of the larger.

    Returns:
        (k,) row numbers, k = int(fraction · n) as in the published code, at least 1.
    """
    if fraction == 1:
        return np.sort(train_rows)
    # 0.29 · 100 is 28.999999999999996 in binary; it stands for 29.
    count = max(1, math.floor(fraction * len(train_rows) + 1e-9))
    return np.sort(np.random.default_rng(seed).permutation(train_rows)[:count])
