import gzip
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mflag.data.datasets.nih import read, select, spell_id
from mflag.data.datasets.nih_table import LABELS, read_nih_table
from mflag.data.preparing import prepare
from mflag.errors import InputError
from tests.data.datasets.label_trees import (
    NIH_HEADER,
    make_chexpert,
    make_nih,
    nih_row,
    write_lines,
)


@pytest.fixture
def config(tmp_path):
    return make_nih(tmp_path / "root")


def write_table(tmp_path, *rows, header=NIH_HEADER):
    write_lines(tmp_path / "Data_Entry_2017_v2020.csv", [header, *rows])
    return tmp_path / "Data_Entry_2017_v2020.csv"


def test_images_in_any_folder_below_root_are_prepared(config, capsys):
    prepared = prepare(config)
    manifest = prepared.manifest
    assert prepared.split_counts() == {"train": 12, "valid": 2, "test": 6}
    first = manifest.iloc[0]
    assert (first["id"], first["study"]) == ("00000001_000.png",) * 2
    assert (first["patient"], first["text"], first["view"]) == ("1", "", "PA")
    assert (first["sex"], first["age"]) == ("M", 58.0)
    assert manifest["follow_up"].tolist() == [0.0, 1.0] * 10
    assert prepared.labels == list(LABELS) and prepared.attributes == []
    assert capsys.readouterr().err.count("note: valid is drawn by patient") == 1


def test_no_finding_is_a_row_of_zeros(config):
    labels = select(config).table.filter(like="label/")
    assert labels.iloc[0].tolist() == [0.0] * 14
    present = labels.columns[labels.iloc[1] == 1].tolist()
    assert present == ["label/Infiltration", "label/Mass"]
    assert (labels.dtypes == np.float32).all()


def test_the_table_of_2017_reads_alike(tmp_path):
    """A twelfth column without a name, ages with a unit, and ages that nobody reaches."""
    ages = ["058Y", "003M", "010D", "414", "58"]
    rows = [nih_row(f"0000000{n}_000.png", age=age) + "," for n, age in enumerate(ages)]
    path = write_table(tmp_path, *rows, header=NIH_HEADER + ",")
    table = read_nih_table(path)
    assert table["age"].tolist()[:3] == pytest.approx([58, 0.25, 10 / 365.25])
    assert np.isnan(table["age"][3]) and table["age"][4] == 58
    assert table["patient"].tolist() == ["0", "1", "2", "3", "4"]


def test_the_table_may_be_packed(config, tmp_path):
    path = tmp_path / "root" / "Data_Entry_2017_v2020.csv"
    with gzip.open(f"{path}.gz", "wb") as file:
        file.write(path.read_bytes())
    path.unlink()
    assert len(select(config).table) == 20


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_a_coloured_file_reads_as_its_first_channel(config, mode):
    grey = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    image = Image.fromarray(grey).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(grey[::-1].copy()))  # must not show
    path = f"{config.root}/images_001/images/00000001_000.png"
    image.save(path)
    seen = prepare(config).images[0]
    Image.fromarray(grey).save(path)
    config.overwrite = True
    assert np.array_equal(seen, prepare(config).images[0])


def test_missing_files_are_rejected_and_counted(config):
    os.remove(f"{config.root}/images_001/images/00000001_000.png")
    prepared = prepare(config)
    rejected = pd.read_csv(prepared.path / "rejected.csv")
    assert rejected.to_numpy().tolist() == [["00000001_000.png", "missing file"]]
    assert [step.name for step in read(config).funnel.steps][-1] == "file present"


def test_a_link_in_a_circle_does_not_end_the_walk(config):
    os.symlink(config.root, f"{config.root}/images_001/above")
    assert len(read(config).items) == 20


def test_images_behind_a_linked_folder_are_found(config, tmp_path):
    shutil.move(f"{config.root}/images_002", tmp_path / "disk2")
    os.symlink(tmp_path / "disk2", f"{config.root}/images_002")
    assert len(read(config).items) == 20


def test_two_copies_of_an_image_are_not_chosen_between(config):
    shutil.copytree(f"{config.root}/images_001/images", f"{config.root}/small")
    with pytest.raises(InputError, match=r"_000.png is at .*images_001.* and at .*small"):
        read(config)


def test_a_root_without_images_is_refused_at_once(config):
    for number in (1, 2, 3):
        shutil.rmtree(f"{config.root}/images_00{number}")
    with pytest.raises(InputError, match="none of the 20 images is below root"):
        read(config)


def test_views_are_chosen(config):
    config.dataset.views = ["AP"]
    with pytest.raises(InputError, match=r"choose among PA, AP, or null for all .*has PA 20"):
        select(config)


def test_the_official_test_list_is_test_and_valid_comes_from_the_other(config):
    table = select(config).table
    assert set(table["patient"][table["split"] == "test"]) == {"8", "9", "10"}
    assert table.groupby("patient")["split"].nunique().eq(1).all()


def test_images_of_neither_official_list_are_left_out(config, tmp_path):
    write_lines(tmp_path / "root/test_list.txt", ["00000010_000.png", "00000010_001.png"])
    studies = select(config)
    assert [(step.name, step.kept) for step in studies.funnel.steps][1] == ("in split official", 16)
    assert len(studies.table) == 16


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["00000001_000.png", "00000009_000.png"], "both mean '00000001_000.png'"),
        (["00000099_000.png", "00000009_000.png"], "test_list.txt names '00000099_000.png', whi"),
        (["00000009_000.png"] * 2, "names '00000009_000.png' more than once"),
    ],
    ids=["overlap", "unknown", "twice"],
)
def test_official_lists_that_were_altered_are_refused(config, tmp_path, names, message):
    write_lines(tmp_path / "root/test_list.txt", names)
    with pytest.raises(InputError, match=message):
        select(config)


def test_an_official_list_that_cuts_through_a_patient_is_refused(config, tmp_path):
    names = (tmp_path / "root/train_val_list.txt").read_text().splitlines()
    write_lines(tmp_path / "root/train_val_list.txt", names[:-1])
    rest = (tmp_path / "root/test_list.txt").read_text().splitlines()
    write_lines(tmp_path / "root/test_list.txt", [names[-1], *rest])
    with pytest.raises(InputError, match="patient '7' is in splits test and train of the official"):
        select(config)


def test_without_the_official_lists_another_split_works(config, tmp_path):
    (tmp_path / "root/test_list.txt").unlink()
    with pytest.raises(InputError, match="test_list.txt .*is missing in root"):
        select(config)
    config.dataset.split = "patient"
    assert select(config).table["split"].value_counts().to_dict() == {
        "train": 16, "valid": 2, "test": 2,
    }  # fmt: skip


def test_a_list_with_a_patient_a_line_for_each_image_is_the_test(config, tmp_path):
    write_lines(tmp_path / "test.csv", ["1", "1", "00000002", "2"])
    config.dataset.split, config.dataset.test_ids = "id_lists", str(tmp_path / "test.csv")
    table = select(config).table
    assert table["split"].value_counts().to_dict() == {"train": 14, "valid": 2, "test": 4}
    assert set(table["patient"][table["split"] == "test"]) == {"1", "2"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (nih_row("00000001_000.png", "Effusion|No Finding"), "Finding Labels is 'Effusion|No"),
        (nih_row("00000001_000.png", "Infiltrate"), "Finding Labels is 'Infiltrate' in row 1"),
        (nih_row("00000001_000.png", ""), "Finding Labels is nan in row 1"),
        (nih_row("00000001_000.png", age="-3"), "Patient Age is -3 in row 1"),
        (nih_row("00000001_000.png").replace(",PA,", ",LL,"), "View Position is 'LL'"),
        (nih_row("00000001_000.png").replace(",M,", ",,"), "Patient Gender is nan"),
        ("../x.png" + nih_row("00000001_000.png")[16:], "Image Index is '../x.png' in row 1"),
        (nih_row("00000001_000.png", age=""), "Patient Age is nan in row 1"),
        (nih_row("00000001_000.png")[16:], "Image Index is nan in row 1"),
        ("\n".join([nih_row("00000001_000.png")] * 2), "more than once"),
    ],
)
def test_values_of_no_release_are_shown(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        read_nih_table(write_table(tmp_path, row))


def test_another_release_s_columns_are_shown_beside_the_wanted_ones(tmp_path):
    header = NIH_HEADER.replace("Finding Labels", "Labels")
    path = write_table(tmp_path, nih_row("00000001_000.png"), header=header)
    with pytest.raises(InputError, match=r"has the columns .*'Labels', .*also 'Finding Labels'"):
        read_nih_table(path)


def test_the_folder_of_another_dataset_is_named(config, tmp_path):
    make_chexpert(tmp_path / "other")
    config.root = str(tmp_path / "other")
    with pytest.raises(InputError, match=r"Data_Entry_2017_v2020.csv is missing .*chexpert"):
        select(config)


@pytest.mark.parametrize(
    ("line", "spelled"),
    [("13", "13"), ("00000013", "13"), ("00000013_000.png", "00000013_000.png")],
)
def test_lines_of_lists_are_spelled_as_the_manifest(line, spelled):
    assert spell_id(line) == spelled
