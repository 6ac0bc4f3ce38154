"""RSNA's and SIIM's real label tables give the numbers that are published for them."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mflag.data.datasets.rsna import named_split as rsna_split
from mflag.data.datasets.rsna_tables import images_of as rsna_images
from mflag.data.datasets.rsna_tables import read_rsna_boxes
from mflag.data.datasets.siim_splits import balance_train, row_split
from mflag.data.datasets.siim_splits import named_split as siim_split
from mflag.data.datasets.siim_table import images_of as siim_images
from mflag.data.datasets.siim_table import read_siim_masks
from mflag.data.leaks import find_leaks
from mflag.data.run_lengths import NO_MASK, decode_mask, encode_mask, unite_masks

ROOT = Path(__file__).parents[3]
LABELS = Path(os.environ.get("MFLAG_REAL_DATA", ROOT.parent / "shared" / "data")) / "labels"
pytestmark = pytest.mark.skipif(not LABELS.is_dir(), reason=f"{LABELS} is absent (MFLAG_REAL_DATA)")
PARTS = ("train", "valid", "test")
SIDE = 1024
FIRST_POSITIVE = "1.2.276.0.7230010.3.1.4.8323329.13666.1517875247.117800"


@pytest.fixture(scope="module")
def boxes() -> pd.DataFrame:
    return read_rsna_boxes(LABELS / "kaggle_stage_2_train_labels.csv.zip")


@pytest.fixture(scope="module")
def masks() -> pd.DataFrame:
    return read_siim_masks(LABELS / "siim-pneumothorax-train-rle.csv.gz")


@pytest.fixture(scope="module")
def unions(masks) -> dict[str, tuple[np.ndarray, int]]:
    """Of each positive image the masks' union at a quarter of the size, and its area."""
    found = {}
    for image, texts in masks[masks["mask"] != NO_MASK].groupby("id")["mask"]:
        union = unite_masks(texts, SIDE, SIDE)
        found[str(image)] = (union[::4, ::4].copy(), int(np.count_nonzero(union)))
    return found


def id_hash(ids: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]


def test_rsna_table_has_its_published_counts(boxes):
    images = rsna_images(boxes)
    marked = boxes[boxes["Target"] == 1]
    assert (len(boxes), len(images), len(marked)) == (30_227, 26_684, 9_555)
    assert images["target"].sum() == 6_012
    assert marked["id"].value_counts().value_counts().to_dict() == {1: 2614, 2: 3266, 3: 119, 4: 13}
    assert (marked["x"] + marked["width"]).max() <= SIDE
    assert (marked["y"] + marked["height"]).max() <= SIDE
    assert (marked["width"].min(), marked["width"].max()) == (40, 528)
    assert (marked["height"].min(), marked["height"].max()) == (45, 942)


@pytest.mark.parametrize(
    ("scheme", "part", "count", "positives", "box_count", "digest"),
    [
        ("mgca", "train", 16_010, 3_579, 5_678, "3941bdb6a942688b"),
        ("mgca", "valid", 5_337, 1_182, 1_892, "93e72ac638814123"),
        ("mgca", "test", 5_337, 1_251, 1_985, "e75061d168ffcae0"),
        ("gloria", "train", 18_678, 4_162, None, "fdea2323542c4f7d"),
        ("gloria", "valid", 4_003, 928, None, "6279287fa3e3d1e3"),
        ("gloria", "test", 4_003, 922, None, "00eda73bce215e4b"),
    ],
)
def test_rsna_split_has_its_published_members(
    boxes, scheme, part, count, positives, box_count, digest
):
    images = rsna_images(boxes)
    chosen = images[rsna_split(images["id"], scheme) == part]
    assert (len(chosen), chosen["target"].sum()) == (count, positives)
    assert id_hash(chosen["id"]) == digest
    if box_count is not None:
        assert boxes["x"].notna()[boxes["id"].isin(chosen["id"])].sum() == box_count


def test_siim_table_has_its_published_counts(masks):
    images = siim_images(masks)
    drawn = masks[masks["mask"] != NO_MASK]
    assert (len(masks), len(images), len(drawn)) == (12_954, 12_047, 3_576)
    assert images["target"].sum() == 2_669
    assert drawn["id"].value_counts().value_counts().to_dict() == {
        1: 2045, 2: 447, 3: 112, 4: 40, 5: 18, 6: 3, 7: 1, 8: 2, 10: 1,
    }  # fmt: skip
    assert not masks.duplicated().any()


@pytest.mark.parametrize(
    ("scheme", "counts", "positives"),
    [
        ("ids", (8_433, 1_807, 1_807), (1_863, 406, 400)),
        ("ids_sorted", (8_433, 1_807, 1_807), (1_860, 411, 398)),
        (
            "mgca_rows",
            (8_451, 1_799, 1_797),
            (1_875, 424, 370),
        ),  # each image where its first row is
    ],
)
def test_siim_split_has_its_published_counts(masks, scheme, counts, positives):
    images = siim_images(masks)
    images["patient"] = images["id"]
    split, _ = siim_split(masks, images, scheme)
    assert tuple((split == part).sum() for part in PARTS) == counts
    assert tuple(images["target"][split == part].sum() for part in PARTS) == positives


def test_siim_paper_split_keeps_its_members(masks):
    images = siim_images(masks)
    images["patient"] = images["id"]
    split, remark = siim_split(masks, images, "ids")
    assert [id_hash(images["id"][split == part]) for part in PARTS] == [
        "e86d817673c31595", "172bab4484ae0bd9", "19f604619ad86797",
    ]  # fmt: skip
    assert remark == ""


def test_siim_row_split_leaks_as_published(masks):
    rows = row_split(masks)
    parts = {part: rows[rows["split"] == part] for part in PARTS}
    assert [len(parts[part]) for part in PARTS] == [9_067, 1_944, 1_943]
    assert [parts[part]["id"].nunique() for part in PARTS] == [8_578, 1_910, 1_903]
    positive = set(masks["id"][masks["mask"] != NO_MASK])
    ids = {part: set(parts[part]["id"]) for part in PARTS}
    assert [len(ids[part] & positive) for part in PARTS] == [2_002, 535, 476]
    leaks = {(leak.source, leak.target): leak.images for leak in find_leaks(rows)}
    assert leaks == {("train", "valid"): 161, ("train", "test"): 154, ("valid", "test"): 62}
    assert len(ids["train"] & ids["valid"] & ids["test"]) == 33
    assert ids["train"] & ids["test"] <= positive


def test_siim_row_split_says_what_leaks(masks):
    images = siim_images(masks)
    images["patient"] = images["id"]
    _, remark = siim_split(masks, images, "mgca_rows")
    assert "311 images with several masks" in remark
    assert "train and valid 161, train and test 154, valid and test 62" in remark


def test_balanced_siim_training_set_has_two_halves(masks):
    images = siim_images(masks)
    images["patient"] = images["id"]
    images["split"], _ = siim_split(masks, images, "ids")
    kept = images[balance_train(images)]
    assert kept["split"].value_counts().to_dict() == {"train": 3_726, "valid": 1_807, "test": 1_807}
    assert kept["target"][kept["split"] == "train"].sum() == 1_863


def test_first_positive_mask_lies_where_it_is_published(masks):
    first = masks[masks["mask"] != NO_MASK].iloc[0]
    mask = decode_mask(first["mask"], SIDE, SIDE)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert first["id"] == FIRST_POSITIVE
    assert np.count_nonzero(mask) == 30_859
    assert (columns[0], columns[-1], rows[0], rows[-1]) == (544, 795, 125, 390)
    assert encode_mask(mask) == first["mask"]


def test_union_areas_are_the_published_ones(masks, unions):
    areas = np.array([area for _, area in unions.values()])
    assert (areas.sum(), np.median(areas), areas.min(), areas.max()) == (
        38_250_469, 8_630, 55, 161_421,
    )  # fmt: skip
    numbers = masks["mask"].where(masks["mask"] != NO_MASK, "0 0").str.split()
    drawn = numbers.map(lambda words: sum(map(int, words[1::2]))).groupby(masks["id"]).sum()
    overlapping = [image for image, (_, area) in unions.items() if drawn[image] != area]
    assert len(overlapping) == 183


def test_masks_stand_upright_with_the_mediastinum_between_them(unions):
    mean = np.mean([mask for mask, _ in unions.values()], 0)
    across = mean.sum(0)
    left, middle, right = across[64:88].mean(), across[122:134].mean(), across[168:192].mean()
    assert middle < 0.5 * min(left, right)  # read by rows instead, this gap would lie across
    assert mean[:128].sum() > 1.5 * mean[128:].sum()  # air rises to the apices
