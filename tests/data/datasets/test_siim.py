from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mflag.data.datasets.siim import read
from mflag.data.images import square_image, square_mask
from mflag.data.lesions import runs_to_mask
from mflag.data.preparing import prepare
from mflag.errors import InputError
from tests.data.challenge_trees import config_of, edit_table, noise, siim_mask, write_siim

TABLE = "train-rle.csv"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "siim").mkdir()
    return write_siim(tmp_path / "siim")


def image_of(root: Path, number: int) -> Path:
    return next(root.glob(f"dicom-images-train/*/*/1.2.3.{number:04}.dcm"))


def rejected_by(prepared) -> str:
    return (prepared.path / "rejected.csv").read_text()


def test_tree_becomes_manifest_images_and_masks(root):
    prepared = prepare(config_of("siim", root))
    manifest = prepared.manifest
    assert prepared.split_counts() == {"train": 28, "valid": 6, "test": 6}
    assert manifest["id"].tolist() == [f"1.2.3.{number:04}" for number in range(40)]
    assert manifest["label/Pneumothorax"].tolist() == [float(n % 3 == 0) for n in range(40)]
    assert [manifest[name][3] for name in ("patient", "study", "text", "view", "sex", "age")] == [
        "patient 1", "1.2.3.0003", "", "AP", "F", 43.0,
    ]  # fmt: skip
    difference = prepared.images[3].astype(int) - square_image(noise(3))
    assert np.abs(difference).mean() < 5  # JPEG


def test_masks_of_an_image_are_united_on_both_grids(root):
    prepared = prepare(config_of("siim", root))
    lesions = pd.read_parquet(prepared.path / "lesions.parquet")
    assert lesions["id"].tolist() == [f"1.2.3.{number:04}" for number in range(0, 40, 3)]
    union = siim_mask(3, 0) | siim_mask(3, 1)
    row = lesions.iloc[1]
    assert row["finding"] == "Pneumothorax"
    assert np.array_equal(runs_to_mask(row["source_runs"], (64, 64)), union)
    assert np.array_equal(runs_to_mask(row["runs"], (256, 256)), square_mask(union))
    assert runs_to_mask(row["runs"], (256, 256)).sum() == pytest.approx(16 * union.sum(), rel=0.02)
    assert row["source_box"].tolist() == [8, 7, 22, 18]
    assert row[["x", "y", "width", "height"]].tolist() == [32, 28, 88, 72]


@pytest.mark.parametrize("blank", ["", " "])
@pytest.mark.parametrize("ending", ["", ".gz", ".zip"])
def test_each_spelling_of_the_table_reads_the_same(tmp_path, blank, ending):
    root = write_siim(tmp_path, blank=blank)
    if ending:
        pd.read_csv(root / TABLE).to_csv(root / f"{TABLE}{ending}", index=False)
        (root / TABLE).unlink()
    source = read(config_of("siim", root))
    assert [len(masks) for _, _, masks in source.items] == [2 * (n % 3 == 0) for n in range(40)]


def test_row_split_names_what_leaks_and_keeps_each_image_once(root, capsys):
    prepared = prepare(config_of("siim", root, split="mgca_rows"))
    printed = capsys.readouterr().err
    assert "warning: split mgca_rows shuffles rows" in printed
    assert "images with several masks are in more than one part" in printed
    assert prepared.manifest["id"].is_unique
    assert len(pd.read_parquet(prepared.path / "lesions.parquet")) == 14


def test_published_split_by_image_reports_patients_of_the_headers_that_leak(root):
    source = read(config_of("siim", root))
    assert source.shares_patients
    assert any("patients are also in train" in remark for remark in source.remarks)


def test_split_by_patient_keeps_the_headers_patients_together(root):
    manifest = prepare(config_of("siim", root, split="patient")).manifest
    assert manifest["patient"].nunique() == 20
    assert (manifest.groupby("patient")["split"].nunique() == 1).all()


def test_sorted_ids_do_not_depend_on_the_order_of_the_rows(root):
    def splits(split: str) -> list[str]:
        manifest = prepare(config_of("siim", root, split=split)).manifest
        return manifest.sort_values("id")["split"].tolist()

    before = splits("ids_sorted")
    table = pd.read_csv(root / TABLE)
    table.iloc[::-1].to_csv(root / TABLE, index=False)
    config = config_of("siim", root, split="ids_sorted")
    config.overwrite = True
    assert prepare(config).manifest.sort_values("id")["split"].tolist() == before


def test_balance_keeps_as_many_negatives_as_positives_in_train_only(root):
    whole = prepare(config_of("siim", root)).manifest
    config = config_of("siim", root, balance=True)
    config.overwrite = True
    balanced = prepare(config).manifest
    train = balanced[balanced["split"] == "train"]["label/Pneumothorax"]
    assert train.mean() == 0.5
    assert train.sum() == whole[whole["split"] == "train"]["label/Pneumothorax"].sum()
    held_out = [set(m["id"][m["split"] != "train"]) for m in (whole, balanced)]
    assert held_out[0] == held_out[1]


def test_id_lists_decide_the_split_and_may_not_part_a_patient(root, tmp_path):
    (tmp_path / "test.txt").write_text("patient 0\npatient 5")
    lists = {"split": "id_lists", "test_ids": str(tmp_path / "test.txt")}
    manifest = prepare(config_of("siim", root, **lists)).manifest
    assert manifest["id"][manifest["split"] == "test"].tolist() == [
        f"1.2.3.{number:04}" for number in (0, 1, 10, 11)
    ]
    (tmp_path / "test.txt").write_text("1.2.3.0000")
    (tmp_path / "valid.txt").write_text("1.2.3.0001")
    config = config_of("siim", root, **lists, valid_ids=str(tmp_path / "valid.txt"))
    config.overwrite = True
    with pytest.raises(InputError, match="'patient 0' is in splits test and valid"):
        prepare(config)


@pytest.mark.parametrize("folder", ["dicom-images-train", "train/flat", ""])
def test_images_may_lie_at_any_depth(root, folder):
    paths = list(root.glob("dicom-images-train/*/*/*.dcm"))
    (root / (folder or ".")).mkdir(parents=True, exist_ok=True)
    for path in paths:
        path.rename(root / folder / path.name)
    if folder != "dicom-images-train":
        for path in sorted(root.glob("dicom-images-train/**/"), reverse=True):
            path.rmdir()
    assert len(read(config_of("siim", root)).items) == 40


def test_dicom_wins_over_its_copy_and_two_dicoms_are_refused(root):
    path = image_of(root, 3)
    Image.fromarray(noise(3)).save(path.with_suffix(".png"))
    source = read(config_of("siim", root))
    assert source.items[3][1] == str(path)
    (path.parent.parent / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=r"1.2.3.0003 is at .* and at .*; leave one"):
        read(config_of("siim", root))


@pytest.mark.parametrize(
    ("row", "value", "reason"),
    [
        (0, "5 6 7", "mask of 1.2.3.0000 in row 1 .*malformed: 3 numbers"),
        (1, "5 six", "mask of 1.2.3.0000 in row 2 .*'six'"),
        (2, "", "mask of 1.2.3.0001 in row 3 .*malformed"),
        (1, "-1", "1.2.3.0000 has both a mask and -1"),
    ],
)
def test_malformed_mask_is_refused_before_any_image(root, row, value, reason):
    edit_table(root / TABLE, row, " EncodedPixels", value)
    with pytest.raises(InputError, match=reason):
        read(config_of("siim", root))


@pytest.mark.parametrize("value", ["", "  "])
def test_a_blank_id_is_refused_with_its_row(root, value):
    edit_table(root / TABLE, 2, "ImageId", value)
    with pytest.raises(InputError, match="ImageId is .* in row 3 of .*wanted is an id"):
        read(config_of("siim", root))


def test_mask_outside_its_image_is_rejected_with_its_size(root):
    edit_table(root / TABLE, 0, " EncodedPixels", "4090 7")
    prepared = prepare(config_of("siim", root))
    assert "1.2.3.0000.dcm" in rejected_by(prepared)
    assert "ends at pixel 4,097 of 4,096 (64 x 64)" in rejected_by(prepared)


def test_broken_image_is_rejected_and_missing_ones_too(root):
    image_of(root, 4).write_bytes(image_of(root, 4).read_bytes()[:-900])
    image_of(root, 5).unlink()
    prepared = prepare(config_of("siim", root))
    assert len(prepared) == 38
    assert "1.2.3.0005.dcm,missing file" in rejected_by(prepared)
    assert "1.2.3.0004.dcm," in rejected_by(prepared) and "cut short" in rejected_by(prepared)


def test_another_release_is_refused_with_columns_found_and_wanted(root):
    table = pd.read_csv(root / TABLE)
    table.columns = ["ImageId", "Pixels"]
    table.to_csv(root / TABLE, index=False)
    with pytest.raises(InputError, match="'Pixels'; wanted are also ' EncodedPixels'"):
        read(config_of("siim", root))


def test_folder_of_another_dataset_is_named(tmp_path):
    (tmp_path / "stage_2_train_labels.csv").touch()
    with pytest.raises(InputError, match="train-rle.csv is missing.*looks like rsna"):
        read(config_of("siim", tmp_path))


def test_table_without_images_is_refused(tmp_path):
    write_siim(tmp_path, 3)
    (tmp_path / "dicom-images-train").rename(tmp_path.parent / f"{tmp_path.name}-moved")
    with pytest.raises(InputError, match="folder dicom-images-train/.* is missing"):
        read(config_of("siim", tmp_path))
