"""``results.json``: rows, their summary over label draws, and where they come from."""

import platform
import shlex
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from mflag.downstream.bootstrap import interval, mean_over

FORMAT = 1
LIBRARIES = ("torch", "torchvision", "torchmetrics", "scikit-learn", "numpy")


@dataclass(frozen=True)
class Row:
    """One score of one encoder on one draw of labels.

    Attributes:
        task: a name of ``mflag.downstream.TASKS``.
        dataset: what was prepared.
        encoder: its name; that of a trivial predictor in the row of a baseline.
        protocol: of the task; ``none`` for a trivial predictor.
        fraction: share of the training rows whose labels were used; 0 where none is needed.
        seed: of the draw.
        metric: ``macro_auc``, ``auc/NAME``, ``unmentioned_r2``, ``unmentioned_r2/NAME``,
            ``dice_all``, ``dice_positive``, ``dice_pooled``, ``empty_specificity``, or a
            trivial predictor's, such as ``dice_all_empty_baseline``.
        value: the score.
        ci_low: 2.5 % quantile over resampled test patients, None where no resample defines it.
        ci_high: 97.5 % quantile.
        n_train: labelled rows.
        n_test: test rows.
        note: what was left out, or "".
        n_classes_used: labels in a ``macro_auc``; None for other metrics.
    """

    task: str
    dataset: str
    encoder: str
    protocol: str
    fraction: float
    seed: int
    metric: str
    value: float
    ci_low: float | None
    ci_high: float | None
    n_train: int
    n_test: int
    note: str = ""
    n_classes_used: int | None = None

    @property
    def key(self) -> "Key":
        """What is averaged over draws."""
        return self.encoder, self.protocol, self.fraction, self.metric


Key = tuple[str, str, float, str]


class Scores:
    """Rows, and for each the resampled scores that its interval came from."""

    def __init__(self) -> None:
        """Start without rows."""
        self.rows: list[Row] = []
        self._samples: dict[Key, list[np.ndarray]] = {}

    def add(self, samples: np.ndarray, **fields: Any) -> None:
        """Add a row; its interval comes from ``samples`` (R,)."""
        low, high = interval(samples)
        row = Row(ci_low=low, ci_high=high, **fields)
        self.rows.append(row)
        self._samples.setdefault(row.key, []).append(samples)

    def summary(self) -> list[dict[str, Any]]:
        """Mean over the draws of each encoder, protocol, fraction and metric.

        The interval resamples test patients for the mean of the same draws; ``sd`` is the spread
        between draws.
        """
        found: dict[Key, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.key, []).append(row)
        return [
            {
                **dict(zip(("encoder", "protocol", "fraction", "metric"), key, strict=True)),
                **_mean_and_interval([r.value for r in rows], self._mean_samples(key)),
                "sd": float(np.std([r.value for r in rows], ddof=1)) if len(rows) > 1 else None,
                "draws": len(rows),
                "n_train": rows[0].n_train,
            }
            for key, rows in found.items()
        ]

    def differences(self, metrics: tuple[str, ...], minuends: list[str]) -> list[dict[str, Any]]:
        """Paired differences between encoders: same draws of labels, same resampled patients.

        Draws that one side lacks are left out on both.

        Args:
            metrics: names of metrics.
            minuends: encoders from which every other encoder is subtracted.
        """
        names, protocols = (
            list(dict.fromkeys(getattr(row, field) for row in self.rows))
            for field in ("encoder", "protocol")
        )
        fractions = sorted({row.fraction for row in self.rows})
        found = []
        for metric, protocol, fraction, a, b in product(
            metrics, protocols, fractions, minuends, names
        ):
            left, right = (self._draws((n, protocol, fraction, metric)) for n in (a, b))
            common = [seed for seed in left if seed in right]
            if a == b or not common:
                continue
            if b in minuends and minuends.index(b) < minuends.index(a):
                continue
            samples = _mean_samples(left, common) - _mean_samples(right, common)
            found.append(
                {"encoder": a, "minus": b, "protocol": protocol, "fraction": fraction}
                | {"metric": metric}
                | _mean_and_interval([left[s][0] - right[s][0] for s in common], samples)
            )
        return found

    def as_dicts(self) -> list[dict[str, Any]]:
        """The rows for JSON."""
        return [asdict(row) for row in self.rows]

    def _draws(self, key: Key) -> dict[int, tuple[float, np.ndarray]]:
        """Value and resampled values by seed."""
        rows = [row for row in self.rows if row.key == key]
        samples = self._samples.get(key, [])
        return {row.seed: (row.value, s) for row, s in zip(rows, samples, strict=True)}

    def _mean_samples(self, key: Key) -> np.ndarray:
        return mean_over(np.stack(self._samples[key]), 0)


def provenance(program: str, also: tuple[str, ...] = ()) -> dict[str, Any]:
    """Command line, versions (of the libraries ``also`` too) and processor; no host, no time."""
    return {
        "command": shlex.join(["python", "-m", program, *sys.argv[1:]]),
        "versions": {"python": platform.python_version()}
        | {n: version(n) for n in (*LIBRARIES, *also)},
        "machine": processor(),
    }


def merge_notes(notes: list[tuple[str, float, int]]) -> list[str]:
    """Return each remark once, after the draws that it holds for.

    Args:
        notes: (text, fraction, seed) of a draw.
    """
    draws: dict[tuple[str, float], set[int]] = {}
    for text, fraction, seed in notes:
        draws.setdefault((text, fraction), set()).add(seed)
    merged = []
    for (text, fraction), seeds in draws.items():
        which = "seed" if len(seeds) == 1 else "seeds"
        numbers = ", ".join(map(str, sorted(seeds)))
        merged.append(f"fraction {fraction:g}, {which} {numbers}: {text}")
    return merged


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model name."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _mean_samples(draws: dict[int, tuple[float, np.ndarray]], seeds: list[int]) -> np.ndarray:
    return mean_over(np.stack([draws[seed][1] for seed in seeds]), 0)


def _mean_and_interval(values: list[float], samples: np.ndarray) -> dict[str, float | None]:
    low, high = interval(samples)
    return {"value": float(np.mean(values)), "ci_low": low, "ci_high": high}
