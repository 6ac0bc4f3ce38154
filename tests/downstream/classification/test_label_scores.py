import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mflag.downstream.classification.label_scores import score_labels
from mflag.downstream.results import Scores

FIELDS = {
    "task": "classification", "dataset": "csv", "encoder": "mine", "protocol": "linear",
    "fraction": 1.0, "seed": 0, "n_train": 2, "n_test": 40,
}  # fmt: skip
SPLITS = ["train"] * 2 + ["valid"] * 2 + ["test"] * 40


def score(make_study, truth, predicted, trained=None):
    """Rows by metric, and remarks, of (40, K) truth and predictions."""
    filler = np.array([1, 0, 1, 0])
    columns = {
        f"label/{name}": np.concatenate([filler, values])
        for name, values in zip("abc", truth.T, strict=False)
    }
    study, scores = make_study(SPLITS, policy="ignore", **columns), Scores()
    used = np.ones(truth.shape[1], bool) if trained is None else np.array(trained)
    notes = score_labels(study, predicted, used, FIELDS, scores)
    return {row["metric"]: row for row in scores.as_dicts()}, notes


@pytest.fixture
def truth():
    return np.random.default_rng(0).integers(0, 2, (40, 3)).astype(float)


def test_class_without_positives_is_left_out_named_and_not_counted_as_0(make_study, truth):
    truth[:, 2] = 0
    rows, notes = score(make_study, truth, truth)
    assert rows["macro_auc"]["value"] == 1.0
    assert rows["macro_auc"]["n_classes_used"] == 2
    assert notes == ["left out, no positive or no negative on test: c"]
    assert "auc/c" not in rows


def test_aucs_equal_scikit_learn(make_study, truth):
    predicted = truth + np.random.default_rng(1).normal(size=truth.shape)
    rows, _ = score(make_study, truth, predicted)
    assert rows["macro_auc"]["value"] == pytest.approx(roc_auc_score(truth, predicted))
    assert rows["auc/b"]["ci_low"] < rows["auc/b"]["value"] < rows["auc/b"]["ci_high"]


def test_masked_cells_do_not_count(make_study, truth):
    predicted = truth.copy()
    predicted[:10, 0] = 1 - truth[:10, 0]
    truth[:10, 0] = -1
    rows, _ = score(make_study, truth, predicted)
    assert rows["auc/a"]["value"] == 1.0


def test_flipped_label_is_told(make_study, truth):
    predicted = truth.copy()
    predicted[:, 1] = -truth[:, 1]
    _, notes = score(make_study, truth, predicted)
    assert notes == ["mine (linear): AUC below 0.3 for b; is the label flipped?"]


def test_without_any_class_there_is_no_row(make_study, truth):
    rows, notes = score(make_study, truth, truth, trained=[False] * 3)
    assert not rows
    assert "a, b, c" in notes[0] and "no class is left" in notes[1]
