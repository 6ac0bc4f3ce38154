"""The data of one evaluation: labels under a policy, who is labelled in which draw, resamples."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mflag.config.evaluate import EvaluateConfig
from mflag.data.label_policy import apply_label_policy
from mflag.data.manifest import ATTRIBUTE_PREFIX, LABEL_PREFIX, SPLITS, Prepared
from mflag.downstream.bootstrap import patient_weights
from mflag.downstream.classification.crossval import assign_folds
from mflag.downstream.draws import draw_rows, draws_of


@dataclass(frozen=True)
class Study:
    """What is evaluated.

    Attributes:
        prepared: images, table, splits.
        names: (K) of the labels that the policy leaves.
        masked: names of those of which it leaves nothing.
        labels: (n, K) float32 1, 0, NaN masked.
        attributes: (n, A) float32.
        draws: labelled rows by (fraction, seed), ascending.
        test: (t,) rows that are scored: the test split, or all with ``folds``.
        folds: (n,) fold of each row by seed; none without cross-validation.
        weights: (R, t) how often each test row counts in each resample of the patients.
    """

    prepared: Prepared
    names: list[str]
    masked: list[str]
    labels: np.ndarray
    attributes: np.ndarray
    draws: dict[tuple[float, int], np.ndarray]
    test: np.ndarray
    folds: dict[int, np.ndarray]
    weights: np.ndarray

    @property
    def dataset(self) -> str:
        """What was prepared."""
        return str(self.prepared.info.get("dataset", "prepared"))

    def n_train(self, draw: tuple[float, int]) -> int:
        """Labelled rows of a draw; with folds, those that the smallest fit has."""
        if not self.folds:
            return len(self.draws[draw])
        fold_of = self.folds[draw[1]]
        return int(len(fold_of) - np.bincount(fold_of).max())

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

    def counts(self) -> dict[str, Any]:
        """Sizes of the splits, and what is known of each label.

        ``positive``, ``negative`` and ``unknown`` are after the policy, ``uncertain`` and
        ``blank`` before it.
        """
        prepared = self.prepared
        before = prepared.values(LABEL_PREFIX)[:, [prepared.labels.index(n) for n in self.names]]
        rows = {split: prepared.rows(split) for split in SPLITS}
        labels = {
            name: {s: _count(self.labels[rows[s], k], before[rows[s], k]) for s in SPLITS}
            for k, name in enumerate(self.names)
        }
        test_patients = prepared.manifest["patient"].to_numpy()[self.test]
        return {
            "dataset": self.dataset,
            "studies": prepared.split_counts(),
            "test_patients": len(set(test_patients.tolist())),
            "labels": labels,
            "attributes": prepared.attributes,
        }


def plan_study(config: EvaluateConfig, fractions: list[float], prepared: Prepared) -> Study:
    """Apply the label policy, draw the labelled rows, resample the test patients.

    Raises:
        InputError: the policy leaves no label.
    """
    dataset = str(prepared.info.get("dataset", ""))
    policy, names = config.task.label_policy, prepared.labels
    labels = apply_label_policy(prepared.values(LABEL_PREFIX), names, policy, dataset)
    known = ~np.isnan(labels).all(0)
    patients = prepared.manifest["patient"].to_numpy()
    if config.task.folds is None:
        train, test = prepared.rows("train"), prepared.rows("test")
        draws = {(f, s): draw_rows(train, f, s) for f, s in draws_of(fractions, config.seeds)}
        folds: dict[int, np.ndarray] = {}
    else:
        test = np.arange(len(prepared))
        draws = {(1.0, seed): test for seed in range(config.seeds)}
        count = config.task.folds
        folds = {
            seed: assign_folds(labels[:, known], patients, count, seed)
            for seed in range(config.seeds)
        }
    return Study(
        prepared,
        [name for name, keep in zip(names, known, strict=True) if keep],
        [name for name, keep in zip(names, known, strict=True) if not keep],
        labels[:, known],
        prepared.values(ATTRIBUTE_PREFIX),
        draws,
        test,
        folds,
        patient_weights(patients[test], config.task.resamples),
    )


def _count(labels: np.ndarray, before: np.ndarray) -> dict[str, int]:
    return {
        "positive": int((labels == 1).sum()),
        "negative": int((labels == 0).sum()),
        "unknown": int(np.isnan(labels).sum()),
        "uncertain": int((before == -1).sum()),
        "blank": int(np.isnan(before).sum()),
    }
