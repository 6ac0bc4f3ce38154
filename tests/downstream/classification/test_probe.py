import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeCV

from mflag.downstream.classification.probe import RIDGE_PENALTIES, fit_probe, fit_ridge, standardise

GRID = [0.01, 0.1, 1.0, 10.0]


def make_features(count, dimensions=30, seed=0):
    random = np.random.default_rng(seed)
    return (3 + random.normal(size=(count, dimensions)) * np.arange(1, dimensions + 1)).astype(
        np.float32
    )


def make_labels(features, classes=3):
    random = np.random.default_rng(9)
    scaled = features / np.arange(1, features.shape[1] + 1)
    scores = scaled @ random.normal(size=(features.shape[1], classes))
    return (scores > np.median(scores, 0)).astype(float)


@pytest.fixture
def split():
    everything = make_features(300)
    labels = make_labels(everything)
    return everything[:100], everything[100:200], everything[200:], labels[:100], labels[100:200]


def test_scale_comes_from_the_labelled_rows(split):
    train, valid, test, _, _ = split
    scaled = standardise(train, valid, test)
    np.testing.assert_allclose(scaled.test, (test - train.mean(0)) / train.std(0), atol=1e-4)


def test_constant_feature_becomes_zero(split):
    train, valid, test, _, _ = split
    train[:, 4] = 1.0
    assert not standardise(train, valid, test).test[:, 4].any()


@pytest.mark.parametrize("count", [20, 100], ids=["fewer-rows-than-features", "more"])
def test_probe_gives_the_scores_of_plain_logistic_regression(split, count):
    train, valid, test, labels, valid_labels = split
    train, labels = train[:count], labels[:count]
    scaled = standardise(train, valid, test)
    probe = fit_probe(scaled, labels, valid_labels, [1.0], threads=2)
    plain_train = (train - train.mean(0)) / train.std(0)
    plain_test = (test - train.mean(0)) / train.std(0)
    plain = LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit(plain_train, labels[:, 0])
    expected = plain.decision_function(plain_test)
    np.testing.assert_allclose(probe.scores(scaled.test)[:, 0], expected, atol=0.02)


def test_penalty_is_chosen_on_valid(split):
    train, valid, test, labels, valid_labels = split
    scaled = standardise(train, valid, test)
    shuffled = np.random.default_rng(0).permutation(labels)
    honest = fit_probe(scaled, labels, valid_labels, GRID, threads=1)
    lost = fit_probe(scaled, shuffled, valid_labels, GRID, threads=1)
    assert (honest.inverse_penalty, lost.inverse_penalty) != (GRID[0], GRID[0])
    single = [fit_probe(scaled, labels, valid_labels, [c], 1).scores(scaled.valid) for c in GRID]
    best = int(np.argmax([np.mean(_aucs(s, valid_labels)) for s in single]))
    assert honest.inverse_penalty == GRID[best]


def test_class_without_drawn_positives_is_not_fitted(split):
    train, valid, test, labels, valid_labels = split
    labels[:, 1] = 0
    probe = fit_probe(standardise(train, valid, test), labels, valid_labels, GRID, threads=1)
    assert probe.fitted.tolist() == [True, False, True]


def test_unknown_labels_are_masked(split):
    train, valid, test, labels, valid_labels = split
    labels[50:, 0] = np.nan
    scaled = standardise(train, valid, test)
    probe = fit_probe(scaled, labels, valid_labels, [1.0], threads=1)
    plain = LogisticRegression(C=1.0, max_iter=5000).fit(scaled.train[:50], labels[:50, 0])
    expected = plain.decision_function(scaled.test)
    np.testing.assert_allclose(probe.scores(scaled.test)[:, 0], expected, atol=1e-6)


def test_ridge_predicts_each_attribute_on_its_known_rows(split):
    train, valid, test, _, _ = split
    scaled = standardise(train, valid, test)
    values = scaled.train[:, :2] + np.random.default_rng(0).normal(size=(100, 2))
    values[:20, 1] = np.nan
    predicted = fit_ridge(scaled, values)
    plain = RidgeCV(RIDGE_PENALTIES).fit(scaled.train[20:], values[20:, 1])
    np.testing.assert_allclose(predicted[:, 1], plain.predict(scaled.test), atol=1e-8)


def test_ridge_needs_ten_known_values(split):
    train, valid, test, _, _ = split
    scaled = standardise(train[:9], valid, test)
    assert np.isnan(fit_ridge(scaled, train[:9, :2].astype(float))).all()


def _aucs(scores, labels):
    from sklearn.metrics import roc_auc_score

    return [roc_auc_score(labels[:, k], scores[:, k]) for k in range(labels.shape[1])]
