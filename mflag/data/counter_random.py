"""Random numbers by counter: the same key gives the same number, in any order, on any machine."""

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1


def uniform(seed: int, epoch: int, ids: np.ndarray, draws: int) -> np.ndarray:
    """Return numbers in [0, 1), a row an id: a pure function of (seed, epoch, id, draw).

    Args:
        seed: of the run.
        epoch: from 0.
        ids: (B,) int64 study numbers.
        draws: how many numbers an id.

    Returns:
        (B, draws) float64.
    """
    key = _mix(np.array([(seed * 0x9E3779B97F4A7C15 + epoch) & _MASK], np.uint64))
    per_id = _mix(ids.astype(np.uint64)[:, None] ^ key)
    bits = _mix(per_id + np.arange(1, draws + 1, dtype=np.uint64)[None] * _GOLDEN)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
