"""Who is labelled in which draw, and the resamples of the test patients."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mflag.config.evaluate import EvaluateConfig
from mflag.data.manifest import SPLITS, Prepared
from mflag.downstream.bootstrap import patient_weights
from mflag.downstream.draws import draw_rows, draws_of


@dataclass(frozen=True)
class Plan:
    """What every task shares; equal for all encoders.

    Attributes:
        prepared: images, table, splits.
        draws: labelled rows by (fraction, seed), ascending.
        valid: (v,) rows that choose.
        test: (t,) rows that are scored.
        weights: (R, t) how often each test row counts in each resample of the patients.
    """

    prepared: Prepared
    draws: dict[tuple[float, int], np.ndarray]
    valid: np.ndarray
    test: np.ndarray
    weights: np.ndarray

    @property
    def dataset(self) -> str:
        """What was prepared."""
        return str(self.prepared.info.get("dataset", "prepared"))

    @property
    def test_patients(self) -> int:
        """Number of patients in the test split."""
        patients = self.prepared.manifest["patient"].to_numpy()[self.test]
        return len(set(patients.tolist()))

    def fields_of(self, draw: tuple[float, int]) -> dict[str, Any]:
        """What the rows of a draw have in common, whatever the encoder."""
        return {
            "dataset": self.dataset,
            "fraction": draw[0],
            "seed": draw[1],
            "n_train": len(self.draws[draw]),
            "n_test": len(self.test),
        }

    def drawn_ids(self) -> pd.DataFrame:
        """Return ``fraction``, ``seed`` and ``id`` of the labelled rows, without draws of all."""
        ids = self.prepared.manifest["id"].to_numpy()
        parts = [
            pd.DataFrame({"fraction": fraction, "seed": seed, "id": ids[rows]})
            for (fraction, seed), rows in self.draws.items()
            if fraction < 1
        ]
        empty = pd.DataFrame({"fraction": [], "seed": [], "id": []})
        return pd.concat(parts, ignore_index=True) if parts else empty


def plan_draws(
    config: EvaluateConfig,
    fractions: list[float],
    prepared: Prepared,
    known: np.ndarray | None = None,
) -> Plan:
    """Draw the labelled rows and resample the test patients.

    Args:
        config: of the program.
        fractions: shares of the train split.
        prepared: the data.
        known: (n,) bool, rows that take part; None: all. A split may not be without any.
    """
    taken = np.ones(len(prepared), bool) if known is None else known
    train, valid, test = (prepared.rows(s)[taken[prepared.rows(s)]] for s in SPLITS)
    return Plan(
        prepared,
        {(f, seed): draw_rows(train, f, seed) for f, seed in draws_of(fractions, config.seeds)},
        valid,
        test,
        patient_weights(prepared.manifest["patient"].to_numpy()[test], config.task.resamples),
    )
