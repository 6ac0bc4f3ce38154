from collections import Counter

import numpy as np
import pytest

from mflag.data.datasets.phantom import split_of_patient
from mflag.data.phantom import generate_study
from mflag.data.preparing import prepare_phantom


def test_a_patient_stays_in_its_split_whatever_the_number_of_studies(tmp_path):
    few = prepare_phantom(tmp_path / "few", 40, seed=0, workers=1).manifest
    more = prepare_phantom(tmp_path / "more", 60, seed=0, workers=1).manifest
    both = few.merge(more, on="id")
    assert len(both) == 40 and (both["split_x"] == both["split_y"]).all()
    assert set(few["split"]) == {"train", "valid", "test"}


def test_of_ten_patients_eight_train():
    splits = Counter(split_of_patient(f"p{number:07d}") for number in range(1000))
    assert splits == {"train": 800, "valid": 100, "test": 100}


def test_the_folder_holds_what_was_generated(tmp_path):
    prepared = prepare_phantom(tmp_path / "out", 24, seed=3, workers=1)
    study = generate_study(3, 7)
    row = prepared.manifest.iloc[7]
    assert (row["id"], row["text"], row["patient"]) == (study.id, study.text, study.patient)
    assert {name: row[f"label/{name}"] for name in prepared.labels} == study.labels
    spread = study.image.astype(float) - study.image.min()
    np.testing.assert_array_equal(prepared.images[7], np.rint(spread * 255 / spread.max()))


@pytest.mark.parametrize(("old", "new"), [(24, 24), (24, 30)])
def test_other_generated_data_is_replaced_when_asked(tmp_path, old, new):
    prepare_phantom(tmp_path / "out", old, seed=0, workers=1)
    again = prepare_phantom(tmp_path / "out", new, seed=0, workers=1, replace_other=True)
    assert len(again) == new
