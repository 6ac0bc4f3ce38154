import numpy as np
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from mflag.downstream.bootstrap import (
    auc_resamples,
    interval,
    mean_over,
    patient_weights,
    r2_resamples,
    ratio_resamples,
)


def width(bounds):
    return bounds[1] - bounds[0]


def test_rows_of_a_patient_are_drawn_together():
    weights = patient_weights(np.array(["a", "b", "a", "c"]), 50)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])


def test_every_resample_draws_as_many_patients_as_there_are():
    weights = patient_weights(np.array([3, 1, 2, 3]), 50)
    assert (weights[:, :3].sum(1) == 3).all()


def test_interval_by_patient_is_wider_than_by_row_on_clustered_data():
    random = np.random.default_rng(0)
    patients = np.repeat(np.arange(40), 10)
    labels = np.repeat(random.integers(0, 2, 40), 10).astype(float)
    scores = labels + np.repeat(random.normal(size=40), 10) + 0.1 * random.normal(size=400)
    by_patient = interval(auc_resamples(scores, labels, patient_weights(patients, 500)))
    by_row = interval(auc_resamples(scores, labels, patient_weights(np.arange(400), 500)))
    assert width(by_patient) > 2 * width(by_row)


def test_resampled_aucs_equal_scikit_learn_on_repeated_rows():
    random = np.random.default_rng(1)
    labels = (random.random(60) < 0.4).astype(float)
    scores = (labels + random.normal(size=60)).round(1)  # with ties
    weights = patient_weights(np.arange(60), 8)
    expected = [roc_auc_score(np.repeat(labels, w), np.repeat(scores, w)) for w in weights]
    np.testing.assert_allclose(auc_resamples(scores, labels, weights), expected, atol=1e-12)


def test_resample_without_positives_has_no_auc():
    weights = np.array([[0, 1, 1], [1, 1, 1]], np.uint16)
    values = auc_resamples(np.array([2.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]), weights)
    np.testing.assert_array_equal(values, [np.nan, 1.0])


def test_unknown_labels_do_not_count_in_a_resample():
    weights = np.ones((1, 3), np.uint16)
    values = auc_resamples(np.array([2.0, 9.0, 1.0]), np.array([1.0, np.nan, 0.0]), weights)
    assert values.tolist() == [1.0]


def test_resampled_r2_equals_scikit_learn_on_repeated_rows():
    random = np.random.default_rng(2)
    truth = 100 + random.normal(size=60)
    predicted = truth + 0.5 * random.normal(size=60)
    weights = patient_weights(np.arange(60), 8)
    expected = [r2_score(np.repeat(truth, w), np.repeat(predicted, w)) for w in weights]
    np.testing.assert_allclose(r2_resamples(predicted, truth, weights), expected, atol=1e-9)


def test_interval_holds_95_percent_of_the_samples():
    assert interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))


def test_interval_of_nothing_is_none():
    assert interval(np.array([np.nan])) == (None, None)


def test_mean_leaves_undefined_classes_of_a_resample_out():
    samples = np.array([[0.5, np.nan], [0.7, np.nan]])
    np.testing.assert_allclose(mean_over(samples, 0), [0.6, np.nan])


def test_resampled_ratios_equal_those_of_repeated_rows():
    random = np.random.default_rng(3)
    over, under = random.random(30), random.integers(0, 2, 30)
    over[under == 0] = 0
    weights = patient_weights(np.arange(30), 20)
    expected = [np.repeat(over, w).sum() / np.repeat(under, w).sum() for w in weights]
    np.testing.assert_allclose(ratio_resamples(over, under, weights), expected, rtol=1e-13)


def test_ratio_over_nothing_is_undefined():
    weights = np.array([[1, 1], [2, 0]], np.uint16)
    assert np.isnan(ratio_resamples(np.zeros(2), np.zeros(2), weights)).all()
    np.testing.assert_array_equal(
        ratio_resamples(np.array([0, 0.5]), np.array([0, 1]), weights), [0.5, np.nan]
    )
