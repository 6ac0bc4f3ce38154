from pathlib import Path

import pytest

from mflag.data.datasets.recognise import DATASETS, looks_like, refuse_wrong_folder
from mflag.errors import InputError

LAYOUTS = {
    "mimic_cxr": ["mimic-cxr-2.0.0-metadata.csv.gz", "files/p10/p10000032/x.jpg"],
    "chexpert": ["train.csv", "train/patient00001/study1/view1_frontal.jpg"],
    "nih": ["Data_Entry_2017_v2020.csv", "images/00000001_000.png", "train_val_list.txt"],
    "rsna": ["stage_2_train_labels.csv", "stage_2_train_images/x.dcm"],
    "siim": ["train-rle.csv", "dicom-images-train/1/2/3.dcm"],
    "openi": ["NLMCXR_reports.tgz", "NLMCXR_png.tgz"],
}


def lay_out(root: Path, dataset: str) -> Path:
    for name in LAYOUTS[dataset]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize("dataset", DATASETS)
def test_each_layout_is_recognised_as_its_own_dataset_only(tmp_path, dataset):
    assert looks_like(lay_out(tmp_path, dataset)) == dataset


@pytest.mark.parametrize(
    ("dataset", "file"),
    [
        ("mimic_cxr", "mimic-cxr-2.1.0-split.csv"),
        ("chexpert", "CheXpert-v1.0-small.zip"),
        ("nih", "images_012/images/x.png"),
        ("rsna", "stage_2_train_labels.csv.zip"),
        ("siim", "siim-pneumothorax-train-rle.csv.gz"),
        ("openi", "ecgen-radiology/1.xml"),
    ],
)
def test_other_forms_of_a_download_are_recognised_too(tmp_path, dataset, file):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    assert looks_like(tmp_path) == dataset


def test_an_unknown_folder_and_a_mixed_one_look_like_nothing(tmp_path):
    assert looks_like(tmp_path) is None
    lay_out(lay_out(tmp_path, "nih"), "siim")
    assert looks_like(tmp_path) is None


@pytest.mark.parametrize("other", [name for name in DATASETS if name != "rsna"])
def test_folder_of_another_dataset_is_named(tmp_path, other):
    lay_out(tmp_path, other)
    with pytest.raises(InputError, match=f"table.csv is missing.*looks like {other}"):
        refuse_wrong_folder(tmp_path, "rsna", "table.csv")


@pytest.mark.parametrize("given", ["", "deeper/images"], ids=["one too high", "one too low"])
def test_root_one_level_off_is_corrected(tmp_path, given):
    right = lay_out(tmp_path / "deeper", "siim")
    (right / "images").mkdir()
    with pytest.raises(InputError, match=f"set root={right}"):
        refuse_wrong_folder(tmp_path / given, "siim", "train-rle.csv")


def test_incomplete_download_of_the_right_dataset_is_told_apart(tmp_path):
    lay_out(tmp_path, "nih")
    with pytest.raises(InputError, match="test_list.txt is missing.*other files of nih"):
        refuse_wrong_folder(tmp_path, "nih", "test_list.txt")


def test_unknown_folder_is_refused_with_what_it_holds(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(InputError, match=r"it has holiday.jpg\); give the folder of nih"):
        refuse_wrong_folder(tmp_path, "nih", "Data_Entry_2017.csv")


def test_root_that_is_no_folder_is_refused_as_such(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        refuse_wrong_folder(tmp_path / "absent", "nih", "Data_Entry_2017.csv")
