import numpy as np
import pandas as pd
import pytest

from mflag.data.splits import canonical_splits, check_splits, draw_valid, split_by_patient
from mflag.errors import InputError


def test_hundred_patients_are_dealt_80_10_10():
    splits = split_by_patient(f"p{n}" for n in range(100))
    assert pd.Series(splits).value_counts().to_dict() == {"train": 80, "valid": 10, "test": 10}


def test_a_patient_stays_in_one_split():
    patients = [f"p{n % 30}" for n in range(300)]
    frame = pd.DataFrame({"patient": patients, "split": split_by_patient(patients)})
    assert (frame.groupby("patient")["split"].nunique() == 1).all()


def test_the_order_of_rows_changes_no_split():
    patients = [f"p{n}" for n in range(50)]
    forward = dict(zip(patients, split_by_patient(patients), strict=True))
    backward = dict(zip(patients[::-1], split_by_patient(patients[::-1]), strict=True))
    assert forward == backward


@pytest.mark.parametrize(("count", "splits"), [(1, 1), (2, 1), (3, 3), (7, 3)])
def test_few_patients_fill_train_first(count, splits):
    found = split_by_patient(f"p{n}" for n in range(count))
    assert ("train" in found, len(set(found))) == (True, splits)


@pytest.mark.parametrize("name", ["valid", "val", "validate", "Validation", " VAL "])
def test_usual_names_of_valid_are_understood(name):
    assert canonical_splits(pd.Series([name]), "x.csv").tolist() == ["valid"]


@pytest.mark.parametrize("name", ["", "holdout"])
def test_unknown_split_is_refused_with_its_row(name):
    with pytest.raises(InputError, match=f"split is '{name}' in row 2 of x.csv"):
        canonical_splits(pd.Series(["train", name]), "x.csv")


def test_patient_in_two_splits_is_refused_by_name():
    patients, splits = pd.Series(["a", "b", "b"]), pd.Series(["train", "test", "train"])
    with pytest.raises(InputError, match="patient 'b' is in splits test and train"):
        check_splits(patients, splits, "x.csv")


def test_nothing_to_train_on_is_refused():
    with pytest.raises(InputError, match="no study in split 'train'"):
        check_splits(pd.Series(["a"]), pd.Series(["test"]), "x.csv")


@pytest.mark.parametrize(("patients", "images", "expected"), [(8000, 10, 5000), (200, 3, 60)])
def test_valid_is_5000_rows_or_a_tenth_by_whole_patients(patients, images, expected):
    rows = pd.Series(np.repeat([f"p{n}" for n in range(patients)], images))
    drawn = draw_valid(rows)
    assert drawn.sum() == pytest.approx(expected, abs=images - 1)
    assert not set(rows[drawn]) & set(rows[~drawn])


def test_valid_does_not_depend_on_the_order_of_rows():
    rows = pd.Series([f"p{n % 97}" for n in range(500)])
    turned = rows[::-1].reset_index(drop=True)
    assert set(rows[draw_valid(rows)]) == set(turned[draw_valid(turned)])


@pytest.mark.parametrize(("patients", "drawn"), [(0, 0), (1, 0), (2, 1)])
def test_of_few_patients_one_stays_for_training(patients, drawn):
    rows = pd.Series([f"p{n}" for n in range(patients)], dtype=object)
    assert draw_valid(rows).sum() == drawn


def test_a_split_that_leaks_by_patient_passes_only_when_it_was_asked_for():
    patients, splits = pd.Series(["a", "a"]), pd.Series(["train", "test"])
    check_splits(patients, splits, "here", may_share=True)
    with pytest.raises(InputError, match="patient 'a' is in splits"):
        check_splits(patients, splits, "here")
