import gzip

import numpy as np
import pandas as pd
import pytest

from mflag.data.datasets.chexpert import read, select
from mflag.data.datasets.chexpert_table import LABELS, find_folder, read_chexpert_table
from mflag.data.preparing import prepare
from mflag.errors import InputError
from tests.data.datasets.label_trees import (
    CHEXPERT_HEADER,
    chexpert_row,
    make_chexpert,
    make_nih,
    write_chexpert_table,
    write_image,
)


@pytest.fixture
def config(tmp_path):
    return make_chexpert(tmp_path / "any name")


def write_table(tmp_path, *rows):
    write_chexpert_table(tmp_path / "train.csv", list(rows))
    return tmp_path / "train.csv"


def test_frontal_images_of_train_csv_are_prepared_without_text(config):
    prepared = prepare(config)
    manifest = prepared.manifest
    assert len(prepared) == 20 and prepared.split_counts() == {"train": 16, "valid": 2, "test": 2}
    first = manifest.iloc[0]
    assert first["id"] == "train/patient00001/study1/view1_frontal.jpg"
    assert (first["patient"], first["study"]) == ("patient00001", "patient00001/study1")
    assert (first["text"], first["view"], first["sex"], first["age"]) == ("", "AP", "F", 60.0)
    assert prepared.labels == list(LABELS)
    assert manifest["label/Edema"].tolist() == [1.0] * 20
    assert manifest["label/Fracture"].isna().all()
    assert prepared.info["rejected"] == 0
    assert prepared.images[0].std() > 0 and not np.array_equal(*prepared.images[:2])


def test_marked_uncertain_and_blank_are_kept_apart(tmp_path):
    path = write_table(
        tmp_path,
        *(chexpert_row(f"train/patient0000{n}", Edema=value) for n, value in enumerate(
            (1.0, 0.0, -1.0, None)
        )),
    )  # fmt: skip
    edema = read_chexpert_table(path)["label/Edema"]
    assert edema.dtype == np.float32
    assert edema.tolist()[:3] == [1.0, 0.0, -1.0] and np.isnan(edema[3])


def test_tables_may_be_packed_and_of_either_release(tmp_path):
    path = write_table(tmp_path, chexpert_row("train/patient00001", "PA"))
    text = path.read_text().replace("CheXpert-v1.0-small", "CheXpert-v1.0")
    path.unlink()
    with gzip.open(tmp_path / "train.csv.gz", "wt") as file:
        file.write(text)
    table = read_chexpert_table(tmp_path / "train.csv.gz")
    assert table["id"].tolist() == ["train/patient00001/study1/view1_frontal.jpg"]


def test_root_may_be_the_folder_above(config, tmp_path):
    config.root = str(tmp_path)
    assert len(select(config).table) == 20
    assert find_folder(tmp_path).name == "any name"


def test_two_releases_below_root_are_not_chosen_between(config, tmp_path):
    make_chexpert(tmp_path / "CheXpert-v1.0", 3)
    with pytest.raises(InputError, match=r"holds several releases \(CheXpert-v1.0, any name\)"):
        find_folder(tmp_path)


def test_views_are_the_table_s_and_laterals_can_be_had(config):
    config.dataset.views = ["Lateral"]
    assert set(select(config).table["view"]) == {"Lateral"}
    config.dataset.views = None
    assert len(select(config).table) == 30


def test_the_funnel_counts_views_beside_the_published_numbers(config):
    steps = select(config).funnel.steps
    assert [(step.name, step.kept, step.published) for step in steps] == [
        ("rows of train.csv", 30, 223_414),
        ("view PA or AP", 20, 191_010),
    ]


def test_a_missing_file_is_rejected_and_the_rest_prepared(config, tmp_path):
    (tmp_path / "any name/train/patient00001/study1/view1_frontal.jpg").unlink()
    prepared = prepare(config)
    rejected = pd.read_csv(prepared.path / "rejected.csv")
    assert rejected.to_numpy().tolist() == [
        ["train/patient00001/study1/view1_frontal.jpg", "missing file"]
    ]


def test_a_root_without_images_is_refused_at_once(config, tmp_path):
    (tmp_path / "any name/train").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"none of 20 images looked for is in .*any name"):
        read(config)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("views", ["LATERAL"], r"dataset.views is \['LATERAL'\]; choose among PA, AP, LL, RL, L"),
        ("views", [], r"dataset.views is \[\]"),
        ("views", ["RL"], r"dataset.views is \['RL'\].*has AP 10, PA 10, Lateral 10"),
        ("split", "rows", "dataset.split is 'rows'; choose one of patient, official, id_lists, m"),
        ("split", None, "dataset.split is None; choose one of"),
        ("test_ids", "x.txt", "dataset.test_ids is 'x.txt', but dataset.split=patient does not"),
        ("labels", "negbio", "dataset.labels is 'negbio', but dataset=chexpert does not read it"),
    ],
)
def test_keys_that_cannot_work_are_named(config, key, value, message):
    setattr(config.dataset, key, value)
    with pytest.raises(InputError, match=message):
        read(config)


@pytest.mark.parametrize(("root", "message"), [(None, "root is missing"), ("no", "which is no f")])
def test_root_must_be_a_folder(config, root, message):
    config.root = root
    with pytest.raises(InputError, match=message):
        read(config)


def test_the_folder_of_another_dataset_is_named(config, tmp_path):
    make_nih(tmp_path / "nih")
    config.root = str(tmp_path / "nih")
    with pytest.raises(InputError, match=r"train.csv is missing in root .* looks like nih"):
        read(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Path": "train/00001.jpg"}, r"Path is 'train/00001.jpg' in row 2 .*wanted is RELEASE/"),
        ({"Path": "x/train/../patient00001/study1/view1.jpg"}, "Path is 'x/train/.."),
        ({"Path": None}, "Path is nan in row 2"),
        ({"Sex": None}, "Sex is nan in row 2"),
        ({"Frontal/Lateral": None}, "Frontal/Lateral is nan in row 2"),
        ({"Edema": 2.0}, r"Edema is 2.0 in row 2 of .*\(1 such rows\); wanted is 1, 0, -1"),
        ({"Edema": "yes"}, "Edema is 'yes' in row 2"),
        ({"Sex": "X"}, "Sex is 'X' in row 2"),
        ({"Age": "old"}, "Age is 'old' in row 2"),
        ({"Frontal/Lateral": "Oblique"}, "Frontal/Lateral is 'Oblique' in row 2"),
        ({"AP/PA": "Oblique"}, "AP/PA is 'Oblique' in row 2"),
        ({}, r"image 'train/patient00001/study1/view1_frontal.jpg' is in .*\(row 2; 1 such rows"),
    ],
)
def test_values_of_no_release_are_shown(tmp_path, changes, message):
    first, row = (chexpert_row(f"train/patient0000{n}") for n in (1, 1 if not changes else 2))
    with pytest.raises(InputError, match=message):
        read_chexpert_table(write_table(tmp_path, first, row | changes))


def test_another_release_s_columns_are_shown_beside_the_wanted_ones(tmp_path):
    path = write_table(tmp_path, chexpert_row("train/patient00001"))
    path.write_text(path.read_text().replace("Lung Opacity", "Airspace Opacity"))
    with pytest.raises(InputError, match=r"has the columns 'Path', .*; wanted are also 'Lung Op"):
        read_chexpert_table(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (",".join(CHEXPERT_HEADER).encode(), "has a header but no rows"),
        (b"\x1f\x8b broken", "cannot be read as CSV"),
        (b"Path,Sex\na,b,c,d\n", "cannot be read as CSV"),
    ],
    ids=["no bytes", "no rows", "binary", "more fields than columns"],
)
def test_a_broken_table_is_refused(tmp_path, content, message):
    (tmp_path / "train.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_chexpert_table(tmp_path / "train.csv")


def test_an_image_of_both_tables_is_refused(config, tmp_path):
    root = tmp_path / "any name"
    (root / "valid.csv").write_text((root / "train.csv").read_text())
    config.dataset.split = "official"
    with pytest.raises(InputError, match=r"is in .*valid.csv more than once"):
        select(config)


def test_an_image_of_the_full_release_is_squared(config, tmp_path):
    write_image(tmp_path / "any name/train/patient00001/study1/view1_frontal.jpg", 1, side=400)
    assert prepare(config).images.shape == (20, 256, 256)
