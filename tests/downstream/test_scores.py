import numpy as np
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from mflag.downstream.scores import class_aucs, is_two_sided, r_squared


def test_class_without_positives_is_left_out_of_the_macro_mean():
    labels = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]], float)
    scores = np.where(labels == 1, 0.9, 0.1)  # counted as 0, the third class would give 0.667
    assert np.nanmean(class_aucs(scores, labels)) == 1.0


def test_class_without_positives_has_no_auc():
    labels = np.array([[1.0, 0.0], [0.0, 0.0]])
    assert np.isnan(class_aucs(np.array([[2.0, 1.0], [1.0, 2.0]]), labels)).tolist() == [
        False,
        True,
    ]


@pytest.mark.parametrize("spread", [1e-3, 1.0, 1e3], ids="scores-around-{:g}".format)
def test_aucs_equal_scikit_learn(spread):
    random = np.random.default_rng(0)
    labels = (random.random((300, 4)) < 0.3).astype(float)
    scores = spread * (labels + random.normal(size=labels.shape)).round(1)  # with ties
    expected = [roc_auc_score(labels[:, k], scores[:, k]) for k in range(4)]
    np.testing.assert_allclose(class_aucs(scores, labels), expected, rtol=0, atol=1e-6)


def test_unknown_labels_are_masked_class_by_class():
    random = np.random.default_rng(1)
    labels = (random.random((200, 2)) < 0.5).astype(float)
    scores = random.normal(size=labels.shape)
    labels[:50, 1] = np.nan
    expected = [
        roc_auc_score(labels[:, 0], scores[:, 0]),
        roc_auc_score(labels[50:, 1], scores[50:, 1]),
    ]
    np.testing.assert_allclose(class_aucs(scores, labels), expected, atol=1e-6)


def test_class_with_unknown_labels_only_is_not_two_sided():
    labels = np.array([[np.nan, 1.0], [np.nan, 0.0]])
    assert is_two_sided(labels).tolist() == [False, True]


def test_r_squared_equals_scikit_learn_on_the_known_values():
    random = np.random.default_rng(2)
    truth = random.normal(size=50)
    predicted = truth + 0.5 * random.normal(size=50)
    expected = r2_score(truth[10:], predicted[10:])
    truth[:10] = np.nan
    assert r_squared(predicted, truth) == pytest.approx(expected, abs=1e-12)


def test_r_squared_of_a_constant_is_undefined():
    assert np.isnan(r_squared(np.zeros(4), np.ones(4)))
