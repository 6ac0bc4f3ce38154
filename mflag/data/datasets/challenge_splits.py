"""How published code splits the RSNA and SIIM training sets: scikit-learn's shuffle, seed 0."""

import numpy as np
from sklearn.model_selection import train_test_split

from mflag.errors import InputError


def shuffled_split(count: int, held_out: int | float, what: str) -> np.ndarray:
    """Hold rows out, then halve them: the first half is test, the second valid.

    Args:
        count: rows.
        held_out: how many valid and test have together, or their fraction.
        what: what the rows are, for the error.

    Returns:
        (count,) of ``train``, ``valid``, ``test``.

    Raises:
        InputError: too few rows for three parts.
    """
    try:
        train, rest = train_test_split(np.arange(count), test_size=held_out, random_state=0)
        test, _ = train_test_split(rest, test_size=0.5, random_state=0)
    except ValueError as error:
        raise InputError(f"{count} {what} are too few to split; give 10 or more") from error
    split = np.full(count, "valid", object)
    split[train], split[test] = "train", "test"
    return split


def paper_held_out(count: int, fraction: float) -> int:
    """An even number of held-out rows, ``fraction`` of the rows for each of valid and test.

    RSNA: 0.2 of 26,684 twice is MGCA's 10,674. SIIM: 0.15 of 12,047 twice is the paper's 3,614.
    """
    return 2 * round(fraction * count)
