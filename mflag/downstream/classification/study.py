"""The data of one evaluation: labels under a policy, and what ``Plan`` holds."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mflag.config.evaluate import EvaluateConfig
from mflag.data.label_policy import apply_label_policy
from mflag.data.manifest import ATTRIBUTE_PREFIX, LABEL_PREFIX, SPLITS, Prepared
from mflag.downstream.plan import Plan, plan_draws


@dataclass(frozen=True)
class Study(Plan):
    """What is evaluated.

    Attributes:
        names: (K) of the labels that the policy leaves.
        masked: names of those of which it leaves nothing.
        labels: (n, K) float32 1, 0, NaN masked.
        attributes: (n, A) float32.
    """

    names: list[str]
    masked: list[str]
    labels: np.ndarray
    attributes: np.ndarray

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
    return Study(
        **vars(plan_draws(config, fractions, prepared)),
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
