"""The paper's splits by CheXclusion's own lists, where somebody has that repository on disk."""

import os
from pathlib import Path

import pandas as pd
import pytest

from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.datasets import chexpert, nih
from tests.data.datasets.label_trees import chexpert_row, write_chexpert_table

ROOT = Path(__file__).parents[3]
TABLES = Path(os.environ.get("MFLAG_REAL_DATA", ROOT.parent / "shared" / "data")) / "labels"
LISTS = Path(os.environ.get("MFLAG_CHEXCLUSION", ROOT.parent / "CheXclusion"))
NIH_LIST, CHEXPERT_LIST = LISTS / "NIH/testSet_PatientID.csv", LISTS / "CXP/testSet_SubjID.csv"
pytestmark = [
    pytest.mark.skipif(not TABLES.is_dir(), reason=f"{TABLES} is absent (MFLAG_REAL_DATA)"),
    pytest.mark.skipif(not NIH_LIST.is_file(), reason=f"{NIH_LIST} is absent (MFLAG_CHEXCLUSION)"),
]


def table_of(reader, root: Path, test_ids: Path) -> pd.DataFrame:
    name = reader.__name__.rpartition(".")[2]
    dataset = DatasetConfig(name=name, views=["PA", "AP"], split="id_lists", test_ids=str(test_ids))
    return reader.select(PrepareConfig(dataset=dataset, root=str(root))).table


def test_nih_splits_have_the_sizes_of_the_papers_table_1(tmp_path):
    (tmp_path / "Data_Entry_2017_v2020.csv.gz").symlink_to(TABLES / "Data_Entry_2017_v2020.csv.gz")
    table = table_of(nih, tmp_path, NIH_LIST)
    assert table["split"].value_counts().to_dict() == {
        "train": 100_747, "valid": 5_000, "test": 6_373,
    }  # fmt: skip
    test = table[table["split"] == "test"]
    assert test["patient"].nunique() == 1_835
    assert test["view"].value_counts().to_dict() == {"PA": 4_017, "AP": 2_356}
    assert int(test["label/Hernia"].sum()) == 26


def test_chexpert_test_images_are_19_005_of_train_csv_and_22_of_valid_csv(tmp_path):
    (tmp_path / "train.csv.gz").symlink_to(TABLES / "chexpert_train.csv.gz")
    listed = pd.read_csv(CHEXPERT_LIST, header=None)[0]
    # valid.csv is not at hand: one frontal image for each of its patients in the list, and others.
    patients = sorted({*listed[listed > 64_540], *range(64_541, 64_560)})
    rows = [chexpert_row(f"valid/patient{number}") for number in patients]
    write_chexpert_table(tmp_path / "valid.csv", rows)
    table = table_of(chexpert, tmp_path, CHEXPERT_LIST)
    assert (table["split"] == "test").sum() == 19_005 + 22
    assert (table["split"] == "valid").sum() == 5_000
