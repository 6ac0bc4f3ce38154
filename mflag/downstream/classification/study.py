"""The data of one evaluation: labels under a policy, and what ``Plan`` holds."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mflag.config.evaluate import EvaluateConfig
from mflag.data.label_policy import apply_label_policy
from mflag.data.manifest import ATTRIBUTE_PREFIX, LABEL_PREFIX, SPLITS, Prepared
from mflag.downstream.bootstrap import patient_weights
from mflag.downstream.classification.crossval import assign_folds
from mflag.downstream.plan import Plan, plan_draws


@dataclass(frozen=True)
class Study(Plan):
    """What is evaluated.

    Attributes:
        names: (K) of the labels that the policy leaves.
        masked: names of those of which it leaves nothing.
        labels: (n, K) float32 1, 0, NaN masked.
        attributes: (n, A) float32.
        folds: (n,) fold of each row by seed; none without cross-validation. With folds every row
            is labelled and scored.
    """

    names: list[str]
    masked: list[str]
    labels: np.ndarray
    attributes: np.ndarray
    folds: dict[int, np.ndarray]

    def fields_of(self, draw: tuple[float, int]) -> dict[str, Any]:
        """What the rows of a draw share; with folds, ``n_train`` is of the smallest fit."""
        fields = super().fields_of(draw)
        if self.folds:
            fold_of = self.folds[draw[1]]
            fields["n_train"] = int(len(fold_of) - np.bincount(fold_of).max())
        return fields

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
        return {
            "dataset": self.dataset,
            "studies": prepared.split_counts(),
            "test_patients": self.test_patients,
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
    plan = plan_draws(config, fractions, prepared)
    folds: dict[int, np.ndarray] = {}
    if config.task.folds is not None:
        patients, seeds = prepared.manifest["patient"].to_numpy(), range(config.seeds)
        folds = {s: assign_folds(labels[:, known], patients, config.task.folds, s) for s in seeds}
        rows = np.arange(len(prepared))
        weights = patient_weights(patients, config.task.resamples)
        plan = replace(plan, draws={(1.0, s): rows for s in seeds}, test=rows, weights=weights)
    return Study(
        **vars(plan),
        folds=folds,
        names=[name for name, keep in zip(names, known, strict=True) if keep],
        masked=[name for name, keep in zip(names, known, strict=True) if not keep],
        labels=labels[:, known],
        attributes=prepared.values(ATTRIBUTE_PREFIX),
    )


def _count(labels: np.ndarray, before: np.ndarray) -> dict[str, int]:
    return {
        "positive": int((labels == 1).sum()),
        "negative": int((labels == 0).sum()),
        "unknown": int(np.isnan(labels).sum()),
        "uncertain": int((before == -1).sum()),
        "blank": int(np.isnan(before).sum()),
    }
