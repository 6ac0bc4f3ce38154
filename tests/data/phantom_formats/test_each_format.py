"""Every dataset's reader gets back from a generated tree what was drawn and written."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mflag.data.images import square_image
from mflag.data.lesions import runs_to_mask
from mflag.data.manifest import LABEL_PREFIX, open_prepared
from mflag.data.phantom_formats import nih, rsna
from mflag.data.phantom_formats.dicom_files import uid
from mflag.data.phantom_formats.label_names import nih_name
from tests.data.phantom_formats.expected_rows import ROWS, is_same
from tests.data.phantom_formats.trees import arguments


@pytest.mark.parametrize("kind", ROWS)
def test_the_manifest_has_every_patient_text_view_and_label(trees, kind):
    manifest = trees.prepared(kind).manifest.set_index("id")
    wanted = [row for facts in trees.studies(kind) for row in ROWS[kind](facts)]
    assert sorted(manifest.index) == sorted(row["id"] for row in wanted)
    for row in wanted:
        found = manifest.loc[row.pop("id")]
        for name, value in row.items():
            column = name if name in found.index else LABEL_PREFIX + name
            assert is_same(found[column], value), (found.name, name, found[column], value)


@pytest.mark.parametrize("kind", ROWS)
def test_images_show_what_was_drawn(trees, kind):
    prepared = trees.prepared(kind)
    place = {name: row for row, name in enumerate(prepared.manifest["id"])}
    for facts in trees.studies(kind):
        for row in list(ROWS[kind](facts))[:1]:  # the second is another exposure
            drawn = square_image(facts.study.image).astype(float)
            found = prepared.images[place[row["id"]]].astype(float)
            margin = slice(16, 240)  # some are cropped at the sides
            pair = drawn[margin, margin].ravel(), found[margin, margin].ravel()
            assert np.corrcoef(*pair)[0, 1] > 0.98, row["id"]


@pytest.mark.parametrize("kind", ROWS)
def test_no_patient_is_in_two_splits_and_none_is_empty(trees, kind):
    manifest = trees.prepared(kind).manifest
    assert (manifest.groupby("patient")["split"].nunique() == 1).all()
    assert set(manifest["split"]) == {"train", "valid", "test"}


@pytest.mark.parametrize("kind", ["nih", "rsna"])
def test_boxes_are_those_of_the_lesions(trees, kind):
    table = pd.read_parquet(trees.prepared(kind).path / "lesions.parquet")
    sides = table[["x", "y", "width", "height"]].astype(float).itertuples(index=False, name=None)
    found = Counter(zip(table["id"], table["finding"], sides, strict=True))
    drawn = Counter(
        (row["id"], finding, tuple(map(float, lesion.box)))
        for facts in trees.studies(kind)
        for row in ROWS[kind](facts)
        for lesion in facts.study.lesions
        if (finding := boxed_finding(kind, facts, lesion)) is not None
    )
    assert found == drawn
    assert found


def boxed_finding(kind, facts, lesion):
    if kind == "rsna":
        return "Pneumonia" if rsna.is_boxed(lesion) else None
    name = nih_name(lesion) if nih.has_boxes(facts) else None
    return name if name in nih.BOXED else None


def test_masks_are_the_pneumothoraces_on_both_grids(trees):
    table = pd.read_parquet(trees.prepared("siim").path / "lesions.parquet").set_index("id")
    positive = [f for f in trees.studies("siim") if f.study.labels["Pneumothorax"]]
    assert sorted(table.index) == sorted(uid(facts, "image") for facts in positive)
    assert positive
    for facts in positive:
        row: dict[Any, Any] = table.loc[uid(facts, "image")].to_dict()
        lesions = [x.mask for x in facts.study.lesions if x.finding == "Pneumothorax"]
        drawn = np.logical_or.reduce(lesions)
        large = runs_to_mask(row["source_runs"], (row["source_height"], row["source_width"]))
        assert np.array_equal(large, np.kron(drawn, np.ones((4, 4), bool)))
        assert np.array_equal(runs_to_mask(row["runs"], (256, 256)), drawn)


def test_the_other_labeller_of_mimic_is_read(trees, call, tmp_path):
    raw = trees.raw("mimic_cxr")
    call("prepare", *arguments("mimic_cxr", raw), "dataset.labels=negbio", f"out={tmp_path}/n")
    one, other = (
        p.manifest.filter(like=LABEL_PREFIX)
        for p in (trees.prepared("mimic_cxr"), open_prepared(tmp_path / "n"))
    )
    assert (one == -1).sum().sum() > (other == -1).sum().sum()
    assert one.where(one != -1, 1).equals(other.where(other != -1, 1))


def broken(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def missing(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [broken, missing])
@pytest.mark.parametrize(
    ("kind", "images"),
    [
        ("mimic_cxr", "files/*/*/*/*.jpg"),
        ("chexpert", "train/*/*/*_frontal.jpg"),
        ("nih", "images_*/images/*.png"),
        ("rsna", "stage_2_train_images/*.dcm"),
        ("siim", "dicom-images-train/*/*/*.dcm"),
        ("openi", "NLMCXR_png/*-1001.png"),
        ("csv", "images/*/*.png"),
    ],
)
def test_a_broken_or_missing_image_is_left_out_and_listed(
    trees, call, tmp_path, kind, images, damage
):
    kept = set(trees.prepared(kind).manifest["id"])
    raw = shutil.copytree(trees.raw(kind), tmp_path / "raw")
    used = {
        name: path
        for path in sorted(raw.glob(images))
        for name in kept
        if path.stem == name or str(path).endswith(f"/{name}")
    }
    name, path = list(used.items())[2]
    damage(path)
    call("prepare", *arguments(kind, raw), f"out={tmp_path}/out", "max_reject_fraction=0.2")
    assert set(open_prepared(tmp_path / "out").manifest["id"]) == kept - {name}
    rejected = pd.read_csv(tmp_path / "out" / "rejected.csv")["file"]
    assert sum(str(path).endswith(f"/{file}") or file == name for file in rejected) == 1


def test_a_missing_report_leaves_out_its_images(trees, call, tmp_path):
    raw = shutil.copytree(trees.raw("mimic_cxr"), tmp_path / "raw")
    before = trees.prepared("mimic_cxr").manifest
    study = before["study"].iloc[0]
    next(raw.glob(f"files/*/*/s{study}.txt")).unlink()
    call("prepare", *arguments("mimic_cxr", raw), f"out={tmp_path}/out", "max_reject_fraction=0.3")
    after = open_prepared(tmp_path / "out").manifest
    assert set(before["study"]) - set(after["study"]) == {study}
    rejected = pd.read_csv(tmp_path / "out" / "rejected.csv")
    assert (rejected["reason"] == "missing report").sum() == (before["study"] == study).sum()


@pytest.mark.parametrize("kind", sorted(ROWS.keys() - {"csv"}))  # a table has no layout to tell
def test_a_tree_given_as_another_dataset_is_named(trees, call, capsys, kind):
    other = "nih" if kind != "nih" else "siim"
    with pytest.raises(SystemExit):
        call("prepare", f"dataset={other}", f"root={trees.raw(kind)}", "out=unused")
    assert f"dataset={kind}" in capsys.readouterr().err
