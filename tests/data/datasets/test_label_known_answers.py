"""Published counts, on the real tables of CheXpert and NIH ChestX-ray14."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.datasets import chexpert, nih
from mflag.data.leaks import find_leaks
from mflag.data.preparing import prepare
from tests.data.datasets.label_trees import chexpert_row, write_chexpert_table, write_lines

ROOT = Path(__file__).parents[3]
REAL_DATA = Path(os.environ.get("MFLAG_REAL_DATA", ROOT.parent / "shared" / "data"))
TABLES, SAMPLES = REAL_DATA / "labels", REAL_DATA / "samples"
pytestmark = pytest.mark.skipif(not TABLES.is_dir(), reason=f"{TABLES} is absent (MFLAG_REAL_DATA)")
CHEXPERT_COUNTS = {  # 1, 0, -1 and blank in train.csv, all views
    "No Finding": (22_381, 0, 0, 201_033),
    "Enlarged Cardiomediastinum": (10_798, 21_638, 12_403, 178_575),
    "Cardiomegaly": (27_000, 11_116, 8_087, 177_211),
    "Lung Opacity": (105_581, 6_599, 5_598, 105_636),
    "Lung Lesion": (9_186, 1_270, 1_488, 211_470),
    "Edema": (52_246, 20_726, 12_984, 137_458),
    "Consolidation": (14_783, 28_097, 27_742, 152_792),
    "Pneumonia": (6_039, 2_799, 18_770, 195_806),
    "Atelectasis": (33_376, 1_328, 33_739, 154_971),
    "Pneumothorax": (19_448, 56_341, 3_145, 144_480),
    "Pleural Effusion": (86_187, 35_396, 11_628, 90_203),
    "Pleural Other": (3_523, 316, 2_653, 216_922),
    "Fracture": (9_040, 2_512, 642, 211_220),
    "Support Devices": (116_001, 6_137, 1_079, 100_197),
}
CHEXPERT_FRONTAL_POSITIVES = {
    "Support Devices": 107_167, "Lung Opacity": 94_207, "Pleural Effusion": 76_894,
    "Edema": 49_674, "Atelectasis": 29_718, "Cardiomegaly": 23_384, "Pneumothorax": 17_693,
    "No Finding": 16_970, "Consolidation": 12_982, "Enlarged Cardiomediastinum": 9_186,
    "Fracture": 7_434, "Lung Lesion": 7_040, "Pneumonia": 4_674, "Pleural Other": 2_503,
}  # fmt: skip
NIH_POSITIVES = {
    "Infiltration": 19_894, "Effusion": 13_317, "Atelectasis": 11_559, "Nodule": 6_331,
    "Mass": 5_782, "Pneumothorax": 5_302, "Consolidation": 4_667, "Pleural_Thickening": 3_385,
    "Cardiomegaly": 2_776, "Emphysema": 2_516, "Edema": 2_303, "Fibrosis": 1_686,
    "Pneumonia": 1_431, "Hernia": 227,
}  # fmt: skip
NIH_BOXES = {
    "Atelectasis": 180, "Effusion": 153, "Cardiomegaly": 146, "Infiltration": 123,
    "Pneumonia": 120, "Pneumothorax": 98, "Mass": 85, "Nodule": 79,
}  # fmt: skip


@pytest.fixture(scope="module")
def chexpert_root(tmp_path_factory):
    """The real train.csv, and an invented valid.csv of 234 images with 202 frontal ones."""
    root = tmp_path_factory.mktemp("chexpert")
    (root / "train.csv.gz").symlink_to(TABLES / "chexpert_train.csv.gz")
    views = ["AP"] * 169 + ["PA"] * 33 + ["Lateral"] * 32
    write_chexpert_table(
        root / "valid.csv",
        [chexpert_row(f"valid/patient{64541 + n}", view) for n, view in enumerate(views)],
    )
    return root


@pytest.fixture(scope="module")
def nih_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("nih")
    for name in ("Data_Entry_2017_v2020.csv.gz", "BBox_List_2017.csv.gz"):
        (root / name).symlink_to(TABLES / name)
    return root


def select(reader, root, split, views=("PA", "AP"), **lists):
    name = reader.__name__.rpartition(".")[2]
    dataset = DatasetConfig(name=name, views=views and list(views), split=split, **lists)
    return reader.select(PrepareConfig(dataset=dataset, root=str(root)))


def test_chexpert_train_csv_holds_its_published_rows(chexpert_root):
    table = select(chexpert, chexpert_root, "patient", views=None).table
    assert (len(table), table["patient"].nunique(), table["study"].nunique()) == (
        223_414, 64_540, 187_641,
    )  # fmt: skip
    assert table["view"].value_counts().to_dict() == {
        "AP": 161_590, "PA": 29_420, "Lateral": 32_387, "LL": 16, "RL": 1,
    }  # fmt: skip
    assert (table["sex"] == "").sum() == 1 and (table["age"] == 0).sum() == 3
    for name, counts in CHEXPERT_COUNTS.items():
        label = table[f"label/{name}"]
        found = (*(int((label == value).sum()) for value in (1, 0, -1)), int(label.isna().sum()))
        assert found == counts, name


def test_chexpert_has_191010_frontal_images_by_patient(chexpert_root):
    studies = select(chexpert, chexpert_root, "patient")
    table = studies.table
    assert len(table) == 191_010
    positives = {name: int((table[f"label/{name}"] == 1).sum()) for name in CHEXPERT_COUNTS}
    assert positives == CHEXPERT_FRONTAL_POSITIVES
    assert all(step.kept == step.published for step in studies.funnel.steps)
    shares = table.groupby("split")["patient"].nunique() / table["patient"].nunique()
    assert shares.to_dict() == pytest.approx({"train": 0.8, "valid": 0.1, "test": 0.1}, abs=0.005)
    assert find_leaks(table) == []


def test_chexpert_official_adds_the_202_frontal_images_of_valid_csv(chexpert_root):
    table = select(chexpert, chexpert_root, "official").table
    assert table["split"].value_counts().to_dict() == {"train": 191_010, "valid": 202}


def test_chexpert_published_leaking_split_is_reproduced_and_counted(chexpert_root):
    studies = select(chexpert, chexpert_root, "mgca", views=None)
    assert studies.table["split"].value_counts().to_dict() == {
        "train": 217_433 - 4_907, "valid": 5_000, "test": 234,
    }  # fmt: skip
    leak, one_place = studies.assigned.remarks
    assert "4,907 of 5,000 valid images and 4,566 of 4,576 valid patients are also in tr" in leak
    assert "train has 212,526 of the 217,433 images published" in one_place
    in_split = next(step for step in studies.funnel.steps if step.name == "in split mgca")
    assert in_split.dropped == 1_000 + 4_888


@pytest.mark.parametrize(("name", "valid"), [("chexpert", 5_000), ("nih", 5_000)])
def test_of_a_list_s_rest_exactly_the_paper_s_5000_are_drawn(
    chexpert_root, nih_root, tmp_path, name, valid
):
    reader, root = {"chexpert": (chexpert, chexpert_root), "nih": (nih, nih_root)}[name]
    write_lines(tmp_path / "test.csv", [str(n) for n in range(100, 4_000, 2) for _ in (0, 1)])
    table = select(reader, root, "id_lists", test_ids=str(tmp_path / "test.csv")).table
    assert (table["split"] == "valid").sum() == valid
    assert table.loc[table["split"] == "test", "patient"].nunique() == 1_950
    assert find_leaks(table) == []


def test_nih_holds_its_published_rows(nih_root):
    studies = select(nih, nih_root, "patient")
    table = studies.table
    assert (len(table), table["patient"].nunique()) == (112_120, 30_805)
    assert table["view"].value_counts().to_dict() == {"PA": 67_310, "AP": 44_810}
    assert table["sex"].value_counts().to_dict() == {"M": 63_340, "F": 48_780}
    assert table["age"].max() == 95 and table["age"].notna().all()
    labels = table.filter(like="label/")
    assert {n: int((table[f"label/{n}"] == 1).sum()) for n in NIH_POSITIVES} == NIH_POSITIVES
    assert int((labels.sum(axis=1) == 0).sum()) == 60_361
    assert int((labels.sum(axis=1) > 1).sum()) == 20_796


def test_nih_has_984_boxes_of_880_images(nih_root):
    boxes = select(nih, nih_root, "patient").boxes
    assert boxes is not None
    assert (len(boxes), boxes["id"].nunique()) == (984, 880)
    assert boxes["finding"].value_counts().to_dict() == NIH_BOXES
    assert (boxes["x"] + boxes["width"]).max() <= 256 and boxes["width"].min() > 0


def test_two_real_images_of_nih_are_prepared_with_their_labels(nih_root, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    for link in nih_root.iterdir():
        (root / link.name).symlink_to(link.resolve())
    (root / "images").symlink_to(SAMPLES)
    dataset = DatasetConfig(name="nih", views=["PA", "AP"], split="patient")
    prepared = prepare(
        PrepareConfig(dataset, str(root), out=str(tmp_path / "out"), max_reject_fraction=1.0)
    )
    assert prepared.manifest["id"].tolist() == ["00000001_000.png", "00027426_000.png"]
    assert prepared.manifest["label/Cardiomegaly"][0] == 1
    assert prepared.info["rejected"] == 112_118
    for image in prepared.images:
        assert image.min() < 5 and image.max() > 250 and len(np.unique(image)) > 200
        spine, corners = image[:, 118:138].mean(), image[:24, [*range(24), *range(232, 256)]].mean()
        assert spine > 1.5 * corners  # upright and not inverted: bone is bright, air beside is dark


def test_siim_row_split_is_found_to_leak():
    """The split by rows of MGCA and GLoRIA: ids of several masks come apart."""
    rows = pd.read_csv(TABLES / "siim-pneumothorax-train-rle.csv.gz")
    train, rest = train_test_split(rows, test_size=0.3, random_state=0)
    test, valid = train_test_split(rest, test_size=0.5, random_state=0)
    parts = {"train": train, "valid": valid, "test": test}
    members = pd.concat([part.assign(split=name) for name, part in parts.items()])
    members = members.rename(columns={"ImageId": "id"}).assign(patient=lambda table: table["id"])
    leaks = {(leak.source, leak.target): leak.images for leak in find_leaks(members)}
    assert leaks == {("train", "test"): 154, ("train", "valid"): 161, ("valid", "test"): 62}
