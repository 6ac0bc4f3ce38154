import pandas as pd
import pytest

from mflag.data.leaks import count_shared, find_leaks, known_overlap


def rows(*triples: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(triples, columns=["id", "patient", "split"])


def test_shared_images_and_patients_are_counted_once_each():
    source = rows(("a", "1", ""), ("b", "1", ""), ("c", "2", ""), ("a", "1", ""))
    target = rows(("a", "1", ""), ("a", "1", ""), ("d", "2", ""), ("e", "3", ""))
    leak = count_shared(source, target, ("pre-training", "test"))
    assert (leak.images, leak.of_images, leak.patients, leak.of_patients) == (1, 3, 2, 3)
    assert str(leak) == ("1 of 3 test images and 2 of 3 test patients are also in pre-training")
    assert not leak.is_clean


def test_splits_without_a_shared_patient_are_clean():
    members = rows(("a", "1", "train"), ("b", "1", "train"), ("c", "2", "valid"))
    assert find_leaks(members) == []


def test_every_leaking_pair_of_splits_is_named():
    members = rows(
        ("a", "1", "train"), ("a", "1", "valid"), ("b", "2", "valid"), ("c", "2", "test")
    )  # fmt: skip
    found = {
        (leak.source, leak.target): (leak.images, leak.patients) for leak in find_leaks(members)
    }
    assert found == {("train", "valid"): (1, 1), ("valid", "test"): (0, 1)}


@pytest.mark.parametrize(("first", "second"), [("nih", "rsna"), ("rsna", "nih")])
def test_same_pictures_under_other_ids_are_said_to_be_uncountable(first, second):
    text = known_overlap(first, second)
    assert text is not None and "26,684" in text and "cannot be counted" in text


def test_nothing_is_claimed_of_other_pairs():
    assert known_overlap("nih", "chexpert") is None
    assert known_overlap("nih", "nih") is None
