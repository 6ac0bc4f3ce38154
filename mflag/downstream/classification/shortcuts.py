"""What a classifier may read instead of the disease: view, sex, age.

Of RSNA's pneumonia images 38 % of the AP and 9 % of the PA views are positive, so a network that
tells views apart looks like one that finds pneumonia.
"""

from typing import Any

import numpy as np

from mflag.downstream.bootstrap import auc_resamples, interval, mean_over
from mflag.downstream.circumstances import Circumstance, circumstances
from mflag.downstream.classification.study import Study
from mflag.downstream.scores import class_aucs, is_two_sided

# From this AUC on, what a circumstance alone reaches is put into words.
WORTH_SAYING = 0.6
SENTENCES = 3
# Rarer groups (of test) do not decide which labels a macro AUC within groups is over.
MIN_GROUP_SHARE = 0.05


class Shortcuts:
    """Shares of positives by group, AUC of the group alone, and AUC within each group.

    The latter are of the largest fraction's first draw.
    """

    def __init__(self, study: Study) -> None:
        """Find the circumstances that a study's table tells."""
        self._study = study
        # With folds there is no train split that could tell the shares.
        self._circumstances = [] if study.folds else circumstances(study.prepared)
        self._draw = max(study.draws, key=lambda draw: (draw[0], -draw[1]))
        self._kept: list[tuple[dict[str, Any], np.ndarray, np.ndarray]] = []

    def keep(self, predicted: np.ndarray, trained: np.ndarray, fields: dict[str, Any]) -> None:
        """Keep the predictions of an encoder and protocol for ``results``.

        Args:
            predicted: (t, K) of the test rows.
            trained: (K,) bool.
            fields: ``encoder``, ``protocol``, ``fraction``, ``seed``.
        """
        if (fields["fraction"], fields["seed"]) == self._draw and len(predicted):
            names = ("encoder", "protocol", "fraction", "seed")
            self._kept.append(({n: fields[n] for n in names}, predicted, trained))

    def results(self) -> dict[str, Any]:
        """Return what ``results.json`` holds of shortcuts.

        ``circumstances``: name, groups and their sizes. ``shares``: positives of each label in
        each group of train. ``alone``: AUC on test of the training share of an image's group,
        without a look at the image. ``within``: AUC of each encoder among the test images of a
        group. ``sentences``: the strongest in words.
        """
        shares = [row for c in self._circumstances for row in _shares(self._study, c)]
        alone = [row for c in self._circumstances for row in _alone(self._study, c)]
        return {
            "circumstances": [_sizes(self._study, c) for c in self._circumstances],
            "shares": shares,
            "alone": alone,
            "within": [
                fields | row
                for fields, predicted, trained in self._kept
                for c in self._circumstances
                for row in _within(self._study, c, predicted, trained)
            ],
            "sentences": _sentences(shares, alone),
        }


def _sizes(study: Study, of: Circumstance) -> dict[str, Any]:
    count = len(of.groups)
    sizes = {
        split: np.bincount(of.of_row[study.prepared.rows(split)], minlength=count).tolist()
        for split in ("train", "test")
    }
    return {"circumstance": of.name, "groups": of.groups, **sizes}


def _shares(study: Study, of: Circumstance) -> list[dict[str, Any]]:
    train = study.prepared.rows("train")
    rows = []
    for k, label in enumerate(study.names):
        for g, group in enumerate(of.groups):
            values = study.labels[train[of.of_row[train] == g], k]
            known, positive = int((~np.isnan(values)).sum()), int((values == 1).sum())
            share = positive / known if known else None
            rows.append(
                {"label": label, "circumstance": of.name, "group": group}
                | {"positive": positive, "known": known, "share": share}
            )
    return rows


def _alone(study: Study, of: Circumstance) -> list[dict[str, Any]]:
    train, test = study.prepared.rows("train"), study.prepared.rows("test")
    groups, rows = of.of_row[train], []
    for k, label in enumerate(study.names):
        truth, values = study.labels[test, k], study.labels[train, k]
        known = ~np.isnan(values)
        if not known.any() or not is_two_sided(truth[:, None])[0]:
            continue
        sizes, positives = (
            np.bincount(groups[chosen], minlength=len(of.groups)) for chosen in (known, values == 1)
        )
        # A group without known labels in train says nothing: the share of all.
        overall = np.full(len(sizes), positives.sum() / sizes.sum())
        share = np.divide(positives, sizes, out=overall, where=sizes > 0)
        scores = share[of.of_row[test]]
        low, high = interval(auc_resamples(scores, truth, study.weights))
        on_test = float(class_aucs(scores[:, None], truth[:, None])[0])
        on_train = float(class_aucs(share[groups][:, None], values[:, None])[0])
        rows.append(
            {"label": label, "circumstance": of.name, "auc": on_test, "ci_low": low}
            | {"ci_high": high, "auc_train": None if np.isnan(on_train) else on_train}
        )
    return rows


def _within(
    study: Study, of: Circumstance, predicted: np.ndarray, trained: np.ndarray
) -> list[dict[str, Any]]:
    """``auc/NAME`` in each group; ``macro_auc`` over labels that have it in every larger group."""
    test = study.prepared.rows("test")
    members = [np.flatnonzero(of.of_row[test] == g) for g in range(len(of.groups))]
    truth = [study.labels[test[rows]] for rows in members]
    testable = np.array([trained & is_two_sided(values) for values in truth])
    sizes = np.array([len(rows) for rows in members])
    is_large = sizes >= MIN_GROUP_SHARE * len(test)
    everywhere = testable[is_large].all(0)
    found = []
    for g, (rows, labels) in enumerate(zip(members, truth, strict=True)):
        weights = study.weights[:, rows]
        values = class_aucs(predicted[rows], labels)
        samples = {
            int(k): auc_resamples(predicted[rows, k], labels[:, k], weights)
            for k in np.flatnonzero(testable[g])
        }
        metrics = {f"auc/{study.names[k]}": (float(values[k]), s) for k, s in samples.items()}
        if everywhere.any() and is_large[g]:
            chosen = np.flatnonzero(everywhere)
            mean = mean_over(np.stack([samples[int(k)] for k in chosen]), 0)
            metrics = {"macro_auc": (float(values[chosen].mean()), mean)} | metrics
        for metric, (value, resampled) in metrics.items():
            low, high = interval(resampled)
            found.append(
                {"circumstance": of.name, "group": of.groups[g], "metric": metric}
                | {"value": value, "ci_low": low, "ci_high": high, "n_test": len(rows)}
            )
    return found


def _sentences(shares: list[dict[str, Any]], alone: list[dict[str, Any]]) -> list[str]:
    # In train as well: on a small test split a group may tell a label by chance.
    strong = [
        row
        for row in alone
        if min(row["auc"], row["auc_train"] or 0) >= WORTH_SAYING and (row["ci_low"] or 0) > 0.5
    ]
    strong.sort(key=lambda row: -row["auc"])
    return [_sentence(row, shares) for row in strong[:SENTENCES]]


def _sentence(row: dict[str, Any], shares: list[dict[str, Any]]) -> str:
    which = (row["label"], row["circumstance"])
    groups = [
        s for s in shares if (s["label"], s["circumstance"]) == which and s["share"] is not None
    ]
    high, low = (choose(groups, key=lambda s: s["share"]) for choose in (max, min))
    words = " and in ".join(
        f"{100 * s['share']:.1f}\N{NO-BREAK SPACE}% with {s['circumstance']} {s['group']}"
        for s in (high, low)
    )
    return (
        f"{row['label']} is positive in {words} (training images): {row['circumstance']} alone, "
        f"without a look at the image, reaches an AUC of {row['auc']:.3f} on test. Read the AUC "
        "within each group."
    )
