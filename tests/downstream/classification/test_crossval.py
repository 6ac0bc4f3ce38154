import numpy as np
import pytest

from mflag.config.evaluate import EvaluateConfig
from mflag.downstream.classification.crossval import (
    assign_folds,
    probe_out_of_fold,
    ridge_out_of_fold,
)
from mflag.downstream.classification.options import check, check_data
from mflag.downstream.classification.study import plan_study
from mflag.downstream.scores import class_aucs, r_squared
from mflag.errors import InputError

PATIENTS = np.array([f"p{k // 3}" for k in range(120)])


def labels_of(count=120, seed=0):
    """A label of the patient, and one of the image."""
    random = np.random.default_rng(seed)
    of_patient = np.repeat(random.permutation(np.arange(count // 3) % 2), 3)
    return np.stack([of_patient, random.permutation(np.arange(count) % 2)], 1).astype(np.float32)


def test_folds_keep_patients_whole_and_shares_of_labels_alike():
    labels = labels_of()
    fold_of = assign_folds(labels, PATIENTS, 5, 0)
    assert all(len(set(fold_of[PATIENTS == p])) == 1 for p in set(PATIENTS))
    assert set(fold_of) == set(range(5))
    assert all(abs(labels[fold_of == f, 0].mean() - 0.5) < 0.2 for f in range(5))


def test_folds_differ_by_seed_and_repeat_with_it():
    labels = labels_of()
    first, again, other = (assign_folds(labels, PATIENTS, 5, seed) for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()


def test_noise_scores_no_better_than_chance_out_of_fold():
    # every patient has a feature of its own: a probe that saw the patient would score 1
    labels = labels_of()
    features = np.repeat(np.eye(40), 3, axis=0) + np.random.default_rng(1).normal(
        0, 0.01, (120, 40)
    )
    fold_of = assign_folds(labels, PATIENTS, 5, 0)
    found = probe_out_of_fold(features, labels, fold_of, [0.1, 1.0], 1)
    assert class_aucs(found.scores, labels)[0] < 0.65


def test_what_features_tell_is_found_out_of_fold():
    labels = labels_of()
    noise = np.random.default_rng(2).normal(size=(120, 10))
    features = np.concatenate([labels[:, 1:] * 4 + noise[:, :1], noise], 1)
    fold_of = assign_folds(labels, PATIENTS, 4, 0)
    found = probe_out_of_fold(features, labels, fold_of, [0.01, 1.0], 1)
    assert found.fitted.all() and not np.isnan(found.scores).any()
    assert len(found.inverse_penalties) == 4 and set(found.inverse_penalties) <= {0.01, 1.0}
    assert class_aucs(found.scores, labels)[1] > 0.95


def test_a_class_of_one_patient_is_left_out():
    labels = labels_of()
    labels[:, 1] = PATIENTS == "p7"
    fold_of = assign_folds(labels, PATIENTS, 3, 0)
    found = probe_out_of_fold(
        np.random.default_rng(0).normal(size=(120, 4)), labels, fold_of, [1.0], 1
    )
    assert found.fitted.tolist() == [True, False]


def test_attributes_are_predicted_out_of_fold():
    random = np.random.default_rng(3)
    features = random.normal(size=(120, 5))
    values = np.stack([features[:, 0] + 0.1 * random.normal(size=120), random.normal(size=120)], 1)
    fold_of = assign_folds(labels_of(), PATIENTS, 4, 0)
    predicted = ridge_out_of_fold(features, values, fold_of)
    assert r_squared(predicted[:, 0], values[:, 0]) > 0.9
    assert r_squared(predicted[:, 1], values[:, 1]) < 0.1


def test_a_study_with_folds_scores_every_image_and_repeats_by_seed(make_prepared):
    config = EvaluateConfig(seeds=3)
    config.task.folds, config.task.resamples = 5, 10
    prepared = make_prepared()
    study = plan_study(config, [1.0], prepared)
    assert (study.test == np.arange(80)).all() and study.weights.shape == (10, 80)
    assert list(study.draws) == [(1.0, 0), (1.0, 1), (1.0, 2)]
    assert study.fields_of((1.0, 0))["n_train"] == 64
    assert study.counts()["test_patients"] == 40


@pytest.mark.parametrize(
    ("folds", "changes", "said"),
    [
        (2, {}, "task.folds is 2; give 3 or more"),
        (5, {"fraction": [0.1, 1.0]}, "give fraction=1.0"),
        (5, {"protocols": ["finetune"]}, "give task.protocol=linear"),
        (41, {}, "holds 40 patients"),
    ],
)
def test_folds_that_cannot_be_are_refused(make_prepared, folds, changes, said):
    config = EvaluateConfig(fraction=changes.get("fraction", 1.0))
    config.task.folds = folds
    with pytest.raises(InputError, match=said):
        check(config, changes.get("protocols", ["linear"]))
        check_data(config, make_prepared())
