import sys
from pathlib import Path

import numpy as np
import pytest

from mflag.data.datasets.plain_csv import read
from mflag.data.images import square_image
from mflag.data.preparing import prepare
from mflag.errors import InputError
from tests.data.dicom_files import write_dicom


def test_binary_columns_become_labels(csv_dataset):
    config = csv_dataset(
        4,
        edema=["1", "0", "-1", ""],
        age=["61", "60", "59", "58"],
        note=["a", "b", "c", "d"],
        nothing=["", "", "", ""],
    )
    prepared = prepare(config)
    np.testing.assert_array_equal(prepared.manifest["label/edema"], [1, 0, -1, np.nan])
    assert prepared.labels == ["edema"]


def test_label_columns_choose_among_the_labels(csv_dataset):
    config = csv_dataset(4, edema=[1, 0, 1, 0], device=[1, 1, 0, 0])
    config.dataset.label_columns = ["device"]
    assert prepare(config).labels == ["device"]


def test_study_view_sex_and_age_are_kept_in_one_spelling(csv_dataset):
    config = csv_dataset(
        4,
        study=["s1", "s1", "", "s2"],
        view=["pa", "AP", "", "Lateral"],
        sex=["Male", "f", "unknown", ""],
        age=["61", "", "0.5", "old"],
    )
    manifest = prepare(config).manifest
    assert manifest["study"].tolist() == ["s1", "s1", "002.png", "s2"]
    assert manifest["view"].tolist() == ["PA", "AP", "", "LATERAL"]
    assert manifest["sex"].tolist() == ["M", "F", "", ""]
    np.testing.assert_array_equal(manifest["age"], [61, np.nan, 0.5, np.nan])


def test_circumstances_of_ones_and_zeros_are_labels_only_when_asked_for(csv_dataset):
    coded = {name: [1, 0, 1, 0] for name in ("edema", "study", "view", "sex", "age")}
    config = csv_dataset(4, **coded)
    assert prepare(config).labels == ["edema"]
    config.dataset.label_columns, config.overwrite = ["view"], True
    prepared = prepare(config)
    assert prepared.labels == ["view"] and "view" not in prepared.manifest


def test_without_a_text_column_every_report_is_empty(csv_dataset):
    config = csv_dataset(3, text=["", "a", ""])
    config.dataset.text_column = None
    assert prepare(config).manifest["text"].tolist() == ["", "", ""]


def test_ids_and_patients_keep_their_zeros_and_reports_their_words(csv_dataset):
    config = csv_dataset(3, patient=["007", "008", ""], text=["NA", "None", "1.50"])
    manifest = prepare(config).manifest
    assert manifest["patient"].tolist() == ["007", "008", "002.png"]
    assert manifest["text"].tolist() == ["NA", "None", "1.50"]


def test_without_patients_each_image_is_one(csv_dataset):
    config = csv_dataset(3, patient=["a", "a", "a"])
    config.dataset.patient_column = None
    manifest = prepare(config).manifest
    assert manifest["patient"].tolist() == manifest["id"].tolist()


def test_given_splits_are_kept(csv_dataset):
    config = csv_dataset(4, patient=list("abcd"), split=["train", "val", "validate", "test"])
    assert prepare(config).manifest["split"].tolist() == ["train", "valid", "valid", "test"]


def test_columns_of_other_names_are_read_when_named(csv_dataset):
    config = csv_dataset(3, report=["one", "two", "three"])
    config.dataset.text_column = "report"
    assert prepare(config).manifest["text"].tolist() == ["one", "two", "three"]


def test_files_behind_a_link_inside_root_are_read(csv_dataset, tmp_path):
    config = csv_dataset(3)
    image = Path(config.root) / "001.png"
    image.rename(tmp_path / "elsewhere.png")
    image.symlink_to(tmp_path / "elsewhere.png")
    assert len(prepare(config)) == 3


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": ["000.png"] * 4}, "image '000.png' is in .* more than once"),
        (
            {"split": ["train", "test", "train", "train"]},
            "patient 'p0' is in splits test and train",
        ),
        ({"split": ["test"] * 4}, "no study in split 'train'"),
        ({"split": ["train", "train", "dev2", "test"]}, "split is 'dev2' in row 3"),
    ],
    ids=["duplicate ids", "leaking patient", "no train", "unknown split"],
)
def test_a_table_that_cannot_be_trusted_is_refused(csv_dataset, columns, message):
    with pytest.raises(InputError, match=message):
        read(csv_dataset(4, **columns))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("text_column", "report", "no column 'report'; it has: image, text, patient. Set dataset"),
        ("image_column", "file", "no column 'file'; it has: image, text, patient"),
        ("patient_column", "person", "no column 'person'"),
        ("split_column", "fold", "no column 'fold'"),
        ("image_column", None, "no column None"),
        ("label_columns", ["gone"], "label column 'gone' is not in"),
        ("label_columns", ["text"], "column 'text' .* cannot be a label"),
        ("size", 3, "dataset.size is 3, but dataset=csv does not read it"),
    ],
)
def test_wrong_columns_are_named_with_those_there_are(csv_dataset, key, value, message):
    config = csv_dataset(4)
    setattr(config.dataset, key, value)
    with pytest.raises(InputError, match=message):
        read(config)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"image,text,patient\n", "has a header but no rows"),
        (b'image,text\n"a.png,open quote', "cannot be read as UTF-8 CSV"),
        (b"image,text\na.png,\xff\xfe\n", "cannot be read as UTF-8 CSV"),
        (b"image,text\na.png,no,edema\n", "Expected 2 fields in line 2, saw 3"),
        (b"image,text\na.png,no\nb.png,no,edema\n", "Expected 2 fields in line 3, saw 3"),
        (b"image,text,edema,edema\na.png,no,1,0\n", "more than one column 'edema'"),
    ],
    ids=["no bytes", "no rows", "open quote", "not UTF-8", "long rows", "long row", "names twice"],
)
def test_a_broken_table_is_refused(csv_dataset, content, message):
    config = csv_dataset(4)
    Path(config.csv).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(config)


@pytest.mark.parametrize("key", ["root", "csv"])
@pytest.mark.parametrize("value", [None, "nowhere"])
def test_missing_root_or_table_is_refused_by_name(csv_dataset, key, value):
    config = csv_dataset(4)
    setattr(config, key, value)
    with pytest.raises(InputError, match=f"^{key} is"):
        read(config)


@pytest.mark.parametrize("key", ["csv", "text_column"])
def test_a_root_of_another_dataset_is_named(csv_dataset, key):
    config = csv_dataset(1)
    (Path(str(config.root)) / "Data_Entry_2017_v2020.csv").touch()
    setattr(config if key == "csv" else config.dataset, key, None if key == "csv" else "report")
    with pytest.raises(InputError, match="Root looks like nih: choose dataset=nih"):
        read(config)


def test_a_wrong_root_is_named_at_once(csv_dataset, tmp_path):
    config = csv_dataset(4)
    config.root = str(tmp_path)
    with pytest.raises(InputError, match="none of the 4 images is under root"):
        read(config)


def test_table_may_name_dicom_files_beside_others(csv_dataset):
    config = csv_dataset(4, image=["000.png", "001.png", "002.dcm", "003.dcm"])
    root = Path(str(config.root))
    bright = np.tile(np.arange(0, 4000, 20, dtype=np.uint16), (100, 1))
    write_dicom(root / "002.dcm", bright, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    write_dicom(root / "003.dcm", bright, NumberOfFrames=3)
    config.max_reject_fraction = 0.5
    prepared = prepare(config)
    assert prepared.manifest["id"].tolist() == ["000.png", "001.png", "002.dcm"]
    assert np.array_equal(prepared.images[2], square_image(3980 - bright))
    assert "003.dcm,3 frames" in (prepared.path / "rejected.csv").read_text()


def test_dicom_in_a_table_needs_pydicom_before_any_image(csv_dataset, monkeypatch):
    config = csv_dataset(2, image=["000.png", "001.DCM"])
    write_dicom(Path(str(config.root)) / "001.DCM", np.eye(9, dtype=np.uint8))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r'pip install "mflag\[medical\]"'):
        read(config)
