import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mflag.data.datasets.rsna import read
from mflag.data.images import square_image
from mflag.data.preparing import prepare
from mflag.errors import InputError
from tests.data.challenge_trees import config_of, edit_table, noise, write_rsna
from tests.data.dicom_files import write_dicom

TABLE = "stage_2_train_labels.csv"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "rsna").mkdir()
    return write_rsna(tmp_path / "rsna")


def lesions_of(prepared) -> pd.DataFrame:
    return pd.read_parquet(prepared.path / "lesions.parquet")


def test_tree_becomes_manifest_images_and_boxes(root):
    prepared = prepare(config_of("rsna", root))
    manifest = prepared.manifest
    assert manifest["id"].tolist() == [f"{number:04}-id" for number in range(20)]
    assert prepared.split_counts() == {"train": 12, "valid": 4, "test": 4}
    assert prepared.labels == ["Pneumonia"]
    assert manifest["label/Pneumonia"].tolist() == [float(n % 3 == 0) for n in range(20)]
    assert [manifest[name][3] for name in ("patient", "study", "text", "view", "sex", "age")] == [
        "0003-id", "0003-id", "", "AP", "F", 43.0,
    ]  # fmt: skip
    difference = prepared.images[3].astype(int) - square_image(noise(3))
    assert np.abs(difference).mean() < 5  # JPEG
    assert len(lesions_of(prepared)) == 14


def test_boxes_lie_on_the_prepared_grid_and_keep_their_own(root):
    first = lesions_of(prepare(config_of("rsna", root))).iloc[0]
    assert (first["id"], first["finding"]) == ("0000-id", "Pneumonia")
    assert first[["x", "y", "width", "height"]].tolist() == [32, 64, 80, 96]
    assert first["source_box"].tolist() == [8, 16, 20, 24]
    assert (first["source_height"], first["source_width"]) == (64, 64)
    assert len(first["runs"]) == 0 and first["source_runs"] is None


def test_box_of_a_wide_image_follows_its_padding(root):
    write_dicom(root / "stage_2_train_images" / "0000-id.dcm", noise(1)[:40].repeat(2, 1))
    edit_table(root / TABLE, 1, "height", "20")
    edit_table(root / TABLE, 1, "y", "20")
    second = lesions_of(prepare(config_of("rsna", root))).iloc[1]
    # 128 x 40: twice as large, 88 rows of black above
    assert second[["x", "y", "width", "height"]].tolist() == [80, 128, 48, 40]


@pytest.mark.parametrize("split", ["mgca", "gloria", "patient"])
def test_split_does_not_depend_on_the_order_of_the_rows(root, split):
    def splits() -> dict[str, str]:
        source = read(config_of("rsna", root, split=split))
        record: dict = {"view": "", "sex": "", "age": None, "lesions": []}
        everything = list(range(len(source.items)))
        table = source.build_tables(everything, [record] * len(everything))["manifest.parquet"]
        return dict(zip(table["id"], table["split"], strict=True))

    before = splits()
    table = pd.read_csv(root / TABLE)
    table.sample(frac=1, random_state=1).to_csv(root / TABLE, index=False)
    assert splits() == before
    assert set(before.values()) == {"train", "valid", "test"}


def test_id_lists_decide_the_split(root, tmp_path):
    (tmp_path / "test.txt").write_text("0004-id\n0001-id")
    (tmp_path / "valid.txt").write_text("0002-id\n")
    lists = {"test_ids": str(tmp_path / "test.txt"), "valid_ids": str(tmp_path / "valid.txt")}
    manifest = prepare(config_of("rsna", root, split="id_lists", **lists)).manifest
    assert manifest["id"][manifest["split"] == "test"].tolist() == ["0001-id", "0004-id"]
    assert manifest["id"][manifest["split"] == "valid"].tolist() == ["0002-id"]


def test_classes_of_the_second_table_are_kept(root):
    table = pd.read_csv(root / TABLE)
    classes = table["Target"].map({0: "Normal", 1: "Lung Opacity"})
    classes[1] = classes[2]
    info = pd.DataFrame({"patientId": table["patientId"], "class": classes})
    info.loc[2, "class"] = "No Lung Opacity / Not Normal"
    info.loc[1, "class"] = "Lung Opacity"
    info.to_csv(root / "stage_2_detailed_class_info.csv", index=False)
    manifest = prepare(config_of("rsna", root)).manifest
    assert manifest["class"].tolist()[:3] == [
        "Lung Opacity", "No Lung Opacity / Not Normal", "Normal",
    ]  # fmt: skip


def test_classes_that_contradict_the_boxes_are_refused(root):
    table = pd.read_csv(root / TABLE)
    info = pd.DataFrame({"patientId": table["patientId"], "class": "Normal"})
    info.to_csv(root / "stage_2_detailed_class_info.csv", index=False)
    with pytest.raises(InputError, match="'Normal' to '0000-id', whose Target is 1"):
        read(config_of("rsna", root))


@pytest.mark.parametrize("ending", [".zip", ".gz"])
def test_packed_table_is_read(root, ending):
    pd.read_csv(root / TABLE).to_csv(root / f"{TABLE}{ending}", index=False)
    (root / TABLE).unlink()
    assert len(read(config_of("rsna", root)).items) == 20


def test_png_copies_are_read_and_their_boxes_belong_to_the_released_grid(root):
    from PIL import Image

    images = root / "stage_2_train_images"
    for path in list(images.iterdir()):
        path.unlink()
        Image.fromarray(noise(1)).save(images / f"{path.stem}.png")
    first = lesions_of(prepare(config_of("rsna", root))).iloc[0]
    assert first[["x", "width", "source_width"]].tolist() == [2, 5, 1024]


def test_copy_that_is_not_square_is_rejected(root):
    from PIL import Image

    images = root / "stage_2_train_images"
    (images / "0000-id.dcm").unlink()
    Image.fromarray(noise(1)[:40]).save(images / "0000-id.png")
    prepared = prepare(config_of("rsna", root))
    assert "not square" in (prepared.path / "rejected.csv").read_text()
    assert "0000-id" not in set(lesions_of(prepared)["id"])


def test_funnel_counts_rows_images_and_files(root):
    (root / "stage_2_train_images" / "0001-id.dcm").unlink()
    prepared = prepare(config_of("rsna", root))
    steps = json.loads((prepared.path / "funnel.json").read_text())["steps"]
    assert [(step["kept"], step["published"]) for step in steps] == [
        (27, 30227), (20, 26684), (19, 26684), (19, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "column", "value", "reason"),
    [
        (0, "x", "-1", r"x is .*-1.* in row 1 .*wanted is 0 or more"),
        (0, "width", "0", "width is .*0.* in row 1 .*more than 0"),
        (0, "height", "-3", "height is .*-3.* in row 1"),
        (0, "y", "", "y is nan in row 1"),
        (0, "y", "low", "y is 'low' in row 1"),
        (2, "x", "5", "x is 5.0 in row 3.*empty where Target is 0"),
        (2, "Target", "2", "Target is 2 in row 3.*wanted is 0 or 1"),
        (2, "patientId", "0000-id", "0000-id' has Target 0 and 1"),
    ],
)
def test_value_that_no_release_has_is_refused_before_any_image(root, row, column, value, reason):
    edit_table(root / TABLE, row, column, value)
    with pytest.raises(InputError, match=reason):
        read(config_of("rsna", root))


def test_box_outside_its_image_is_rejected_with_both_sizes(root):
    edit_table(root / TABLE, 0, "width", "57")
    prepared = prepare(config_of("rsna", root))
    rejected = (prepared.path / "rejected.csv").read_text()
    assert "0000-id.dcm" in rejected
    assert "box x=8 y=16 width=57 height=24 leaves the 64 x 64 image" in rejected


def test_another_release_is_refused_with_columns_found_and_wanted(root):
    table = pd.read_csv(root / TABLE).rename(columns={"Target": "label"})
    table.to_csv(root / TABLE, index=False)
    with pytest.raises(InputError, match="has the columns .*'label'.*wanted are also 'Target'"):
        read(config_of("rsna", root))


def test_folder_without_images_or_table_is_refused_by_name(root):
    (root / "stage_2_train_images").rename(root / "elsewhere")
    with pytest.raises(InputError, match="stage_2_train_images is missing"):
        read(config_of("rsna", root))
    (root / TABLE).unlink()
    (root / "train-rle.csv").touch()
    with pytest.raises(InputError, match=f"{TABLE} is missing.*looks like siim"):
        read(config_of("rsna", root))


def test_no_image_at_all_is_an_error_before_the_run(root):
    for path in (root / "stage_2_train_images").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="none of the 20 images"):
        read(config_of("rsna", root))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"split": "random"}, "dataset.split is 'random'; choose one of mgca"),
        ({"balance": True}, "dataset.balance"),
        ({"views": ["PA"]}, "dataset.views"),
        ({"test_ids": "x"}, "choose dataset.split=id_lists"),
    ],
)
def test_option_that_does_not_fit_is_refused(root, options, reason):
    with pytest.raises(InputError, match=reason):
        read(config_of("rsna", root, **options))
