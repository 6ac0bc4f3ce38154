"""Random draws that are the same on every machine and with every numpy.

Only the raw bits of Philox are used: numpy keeps those for ever, its distributions it may change.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
T = TypeVar("T")
_WORDS = np.uint64(0x0000FFFF0000FFFF)
_AHEAD = 32


class Purpose(IntEnum):
    """What a stream is for: each has its own, so a change to one leaves the others as they were."""

    LAYOUT = 1
    PATIENT = 2
    POSITION = 3
    ANATOMY = 4
    FINDINGS = 5
    EXPOSURE = 6
    REPORT = 7
    DISTRACTORS = 8
    PERSON = 64  # what only the raw formats need: sex, age, dates
    ACQUISITION = 65


class Draws:
    """A stream of draws keyed by a seed, a number (of a study or a patient) and a purpose."""

    def __init__(self, seed: int, number: int, purpose: Purpose) -> None:
        """Start the stream at its beginning."""
        key = np.array([seed, number], dtype=np.uint64)
        counter = np.array([0, 0, 0, purpose], dtype=np.uint64)
        self._bits = np.random.Philox(counter=counter, key=key)
        self._ready: list[float] = []

    def uniforms(self, count: int, low: float = 0.0, high: float = 1.0) -> Array:
        """Return (count,) float64 in [low, high)."""
        raw = self._bits.random_raw(count) >> np.uint64(11)
        return low + (high - low) * (raw.astype(np.float64) * 2.0**-53)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return one float in [low, high)."""
        if not self._ready:  # one by one, numpy's calls would cost more than the drawing
            self._ready = self.uniforms(_AHEAD).tolist()
        return low + (high - low) * self._ready.pop()

    def normal(self, mean: float = 0.0, deviation: float = 1.0) -> float:
        """Return one nearly normal draw: the sum of 12 uniforms, never beyond 6 deviations."""
        if len(self._ready) < 12:
            self._ready = self.uniforms(_AHEAD).tolist()
        twelve, self._ready = self._ready[-12:], self._ready[:-12]
        return mean + deviation * (sum(twelve) - 6.0)

    def chance(self, probability: float) -> bool:
        """Return true with the given probability."""
        return self.uniform() < probability

    def pick(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """Return one of the options, all equally likely unless weights are given."""
        if weights is None:
            return options[int(self.uniform() * len(options))]
        left = self.uniform() * sum(weights)
        for option, weight in zip(options, weights, strict=True):
            left -= weight
            if left < 0:
                return option
        return options[-1]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """Return the options in random order."""
        order = np.argsort(self._bits.random_raw(len(options)), kind="stable")
        return [options[i] for i in order]

    def noise(self, rows: int, columns: int) -> Array:
        """Return (rows, columns) float64 white noise, nearly normal, mean 0, deviation 1."""
        raw = self._bits.random_raw(rows * columns).reshape(rows, columns)
        # sum the four 16-bit words of each draw: mean 2 * 65535, deviation 65536 / sqrt(3)
        pairs = (raw & _WORDS) + ((raw >> np.uint64(16)) & _WORDS)
        total = ((pairs >> np.uint64(32)) + (pairs & np.uint64(0xFFFFFFFF))).astype(np.float64)
        total -= 131070.0
        total *= 1.7320508075688772 / 65536.0
        return total
