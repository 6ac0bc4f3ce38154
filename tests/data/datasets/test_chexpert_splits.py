import functools
import re

import pandas as pd
import pytest

from mflag.data.datasets import chexpert, chexpert_splits
from mflag.data.datasets.chexpert import select
from mflag.data.datasets.chexpert_splits import assign_mgca, spell_id
from mflag.data.datasets.chexpert_table import read_chexpert_table
from mflag.data.preparing import prepare
from mflag.errors import InputError
from tests.data.datasets.label_trees import (
    chexpert_row,
    make_chexpert,
    write_chexpert_table,
    write_lines,
)

FIVE = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")


@pytest.fixture
def config(tmp_path):
    return make_chexpert(tmp_path / "root")


def listed(config, tmp_path, **lists):
    config.dataset.split = "id_lists"
    for name, lines in lists.items():
        write_lines(tmp_path / f"{name}.csv", lines)
        setattr(config.dataset, f"{name}_ids", str(tmp_path / f"{name}.csv"))
    return config


def counts(config):
    return select(config).table["split"].value_counts().to_dict()


def test_by_patient_the_official_validation_images_stay_out(config):
    table = select(config).table
    assert table["split"].value_counts().to_dict() == {"train": 16, "valid": 2, "test": 2}
    assert not table["id"].str.startswith("valid/").any()
    assert table.groupby("patient")["split"].nunique().eq(1).all()


def test_a_patient_s_split_does_not_depend_on_the_views(config):
    usual = select(config).table.set_index("id")["split"]
    config.dataset.views = None
    every = select(config).table.set_index("id")["split"]
    assert every[usual.index].equals(usual)


def test_by_patient_valid_csv_is_not_needed(config, tmp_path):
    (tmp_path / "root/valid.csv").unlink()
    assert len(select(config).table) == 20


def test_official_takes_valid_csv_and_says_that_there_is_no_test(config, capsys):
    config.dataset.split = "official"
    prepared = prepare(config)
    assert prepared.split_counts() == {"train": 20, "valid": 3, "test": 0}
    assert capsys.readouterr().err.startswith("note: dataset.split=official has no test images")


@pytest.mark.parametrize("split", ["official", "mgca"])
def test_schemes_of_both_tables_name_the_missing_one(config, tmp_path, split):
    (tmp_path / "root/valid.csv").unlink()
    config.dataset.split = split
    with pytest.raises(InputError, match=r"valid.csv is missing in root"):
        select(config)


def test_lists_of_patient_numbers_mean_the_images_of_both_tables(config, tmp_path):
    listed(config, tmp_path, test=["1", "1", "1", "64542"], valid=["2", "patient00003"])
    table = select(config).table
    assert table["split"].value_counts().to_dict() == {"train": 16, "valid": 4, "test": 3}
    assert set(table["patient"][table["split"] == "test"]) == {"patient00001", "patient64542"}


def test_without_a_list_valid_is_drawn_by_patient_and_said_to_be_ours(config, tmp_path):
    listed(config, tmp_path, test=["1"])
    studies = select(config)
    table = studies.table
    assert table["split"].value_counts().to_dict() == {"train": 19, "valid": 2, "test": 2}
    (note,) = studies.assigned.remarks
    assert re.fullmatch(r"note: valid is drawn by patient with seed 0 \(2 images of [12] .*", note)
    assert table.groupby("patient")["split"].nunique().eq(1).all()


def test_a_list_of_images_that_cuts_through_a_patient_is_refused(config, tmp_path):
    image = "CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg"
    listed(config, tmp_path, test=[image], valid=["2"])
    with pytest.raises(InputError, match="patient 'patient00001' is in splits test and train"):
        select(config)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"test": ["1", "99"]}, r"test.csv names '99', which the label table does not know$"),
        ({"test": ["subject", "1"]}, "names 'subject', .*a list has no header line"),
        ({"test": ["1"], "valid": ["1", "2"]}, r"both mean 'train/patient00001/study1/view1_fro"),
        ({"valid": ["1"]}, "dataset.test_ids is missing"),
    ],
    ids=["unknown", "header", "overlap", "no test list"],
)
def test_lists_that_cannot_be_used_are_named(config, tmp_path, lists, message):
    with pytest.raises(InputError, match=message):
        select(listed(config, tmp_path, **lists))


def test_a_list_with_patients_of_valid_csv_says_that_it_is_not_there(config, tmp_path):
    (tmp_path / "root/valid.csv").unlink()
    with pytest.raises(InputError, match="names '64541'.*; valid.csv is not there"):
        select(listed(config, tmp_path, test=["1", "64541"]))


def test_another_list_under_the_same_name_is_another_request(config, tmp_path):
    prepare(listed(config, tmp_path, test=["1"], valid=["2"]))
    listed(config, tmp_path, test=["3"])
    with pytest.raises(InputError, match="prepared with other options .*test_ids_sha256"):
        prepare(config)


def test_the_published_row_split_needs_the_published_rows(config):
    config.dataset.split = "mgca"
    with pytest.raises(InputError, match=r"has 30 rows, but dataset.split=mgca is drawn by row"):
        select(config)


@pytest.fixture
def small_mgca(tmp_path):
    """Assign the leaking split to 300 images of 150 patients, two images for each finding."""
    rows = [
        chexpert_row(f"train/patient{n // 2:05}") | ({FIVE[n % 7]: 1.0} if n % 7 < 5 else {})
        for n in range(300)
    ]
    for number, row in enumerate(rows):
        row["Path"] = str(row["Path"]).replace("study1", f"study{number}")
    write_chexpert_table(tmp_path / "train.csv", rows)
    write_chexpert_table(tmp_path / "valid.csv", [chexpert_row("valid/patient64541")])
    tables = [read_chexpert_table(tmp_path / name) for name in ("train.csv", "valid.csv")]
    return pd.concat(tables, ignore_index=True)


def test_the_leaking_split_gives_each_image_one_place_and_counts_its_leak(small_mgca):
    assigned = assign_mgca(small_mgca, valid_images=50, retrieval_images=2)
    sizes = assigned.split.value_counts()
    assert (sizes["valid"], sizes["test"]) == (50, 1)
    assert sizes[""] >= 10  # ten set aside, and those struck by mistake
    assert assigned.shares_patients
    leak, one_place = assigned.remarks
    assert leak.startswith("warning: dataset.split=mgca leaks: ") and "of 50 valid images" in leak
    leaked = int(leak.split("leaks: ")[1].split(" of 50")[0])
    published = int(one_place.split("of the ")[1].split(" images")[0])
    assert sizes["train"] == published - leaked


def test_prepare_warns_of_a_leaking_split_and_keeps_the_warning(config, monkeypatch, capsys):
    small = functools.partial(assign_mgca, valid_images=5, retrieval_images=0)
    monkeypatch.setattr(chexpert, "TRAIN_ROWS", 30)
    monkeypatch.setattr(chexpert_splits, "assign_mgca", small)
    config.dataset.split = "mgca"
    prepared = prepare(config)
    warned = capsys.readouterr().err.splitlines()
    assert warned[0].startswith("warning: dataset.split=mgca leaks: ")
    assert prepared.info["remarks"] == warned[: len(prepared.info["remarks"])]
    assert prepared.manifest.groupby("patient")["split"].nunique().max() == 2
    assert not prepared.manifest["id"].duplicated().any()


def test_the_leaking_split_needs_enough_images_of_each_finding(small_mgca):
    with pytest.raises(InputError, match="frontal images of 'Atelectasis' alone"):
        assign_mgca(small_mgca, valid_images=50, retrieval_images=100)


@pytest.mark.parametrize(
    ("line", "spelled"),
    [
        ("7", "patient00007"),
        ("00007", "patient00007"),
        ("patient64541", "patient64541"),
        ("CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg",
         "valid/patient64541/study1/view1_frontal.jpg"),
        ("train/patient00007/study1/view1_frontal.jpg",
         "train/patient00007/study1/view1_frontal.jpg"),
        ("p10000032", "p10000032"),
    ],
)  # fmt: skip
def test_lines_of_lists_are_spelled_as_the_manifest(line, spelled):
    assert spell_id(line) == spelled
