"""From predictions of labels to rows of results, the same for every protocol."""

from typing import Any

import numpy as np

from mflag.downstream.bootstrap import auc_resamples, mean_over
from mflag.downstream.classification.study import Study
from mflag.downstream.results import Scores
from mflag.downstream.scores import class_aucs, is_two_sided

# Further below one half than chance explains: the label means its opposite.
FLIPPED_AUC = 0.3


def score_labels(
    study: Study,
    predicted: np.ndarray,
    trained: np.ndarray,
    fields: dict[str, Any],
    scores: Scores,
) -> list[str]:
    """Add ``macro_auc`` and ``auc/NAME`` of one encoder, protocol and draw.

    Args:
        study: truth and resamples.
        predicted: (t, K) the higher, the more positive.
        trained: (K,) False where the drawn labels had no positive or no negative.
        fields: of each row, see ``results.Row``.
        scores: where the rows go.

    Returns:
        Remarks: classes that are left out, AUCs that look flipped.
    """
    truth, names = study.labels[study.test], np.array(study.names)
    testable = is_two_sided(truth)
    used = trained & testable
    note = _left_out(names[~trained], names[~testable])
    notes = [note] if note else []
    if not used.any():
        return [*notes, "no macro AUC, because no class is left"]
    values = np.where(used, class_aucs(predicted, truth), np.nan)
    indices = np.flatnonzero(used)
    resampled = np.stack(
        [auc_resamples(predicted[:, k], truth[:, k], study.weights) for k in indices]
    )
    scores.add(
        mean_over(resampled, 0),
        metric="macro_auc",
        value=float(values[used].mean()),
        note=note,
        n_classes_used=int(used.sum()),
        **fields,
    )
    for k, samples in zip(indices, resampled, strict=True):
        scores.add(samples, metric=f"auc/{names[k]}", value=float(values[k]), **fields)
    flipped = [str(names[k]) for k in indices if values[k] < FLIPPED_AUC]
    if flipped:
        notes.append(
            f"{fields['encoder']} ({fields['protocol']}): AUC below {FLIPPED_AUC} for "
            f"{', '.join(flipped)}; is the label flipped?"
        )
    return notes


def _left_out(undrawn: np.ndarray, untested: np.ndarray) -> str:
    reasons = []
    if len(undrawn):
        reasons.append(f"no positive or no negative among the drawn labels: {', '.join(undrawn)}")
    if len(untested):
        reasons.append(f"no positive or no negative on test: {', '.join(untested)}")
    return f"left out, {'; '.join(reasons)}" if reasons else ""
