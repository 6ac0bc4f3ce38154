import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mflag.data.datasets.rsna import named_split as rsna_split
from mflag.data.datasets.rsna_tables import images_of as rsna_images
from mflag.data.datasets.rsna_tables import read_rsna_boxes
from mflag.data.datasets.siim_splits import named_split as siim_split
from mflag.data.datasets.siim_splits import row_split
from mflag.data.datasets.siim_table import images_of as siim_images
from mflag.data.datasets.siim_table import read_siim_masks
from mflag.data.images import square_box
from mflag.downstream.segmentation.dice import (
    Counts,
    all_empty,
    all_ones,
    count_pixels,
    image_dice,
    resamples,
    score,
)
from mflag.downstream.segmentation.masks import box_to_mask

ROOT = Path(__file__).parents[3]
LABELS = Path(os.environ.get("MFLAG_REAL_DATA", ROOT.parent / "shared" / "data")) / "labels"
with_labels = pytest.mark.skipif(
    not LABELS.is_dir(), reason=f"{LABELS} is absent (MFLAG_REAL_DATA)"
)
# Both empty; false alarm; miss; half found; all found.
MIXED = Counts(
    np.array([0, 0, 0, 2, 4]), np.array([0, 3, 0, 4, 4]), np.array([0, 0, 5, 4, 4]),
    np.array([False, False, True, True, True]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("dice_all", (1 + 0 + 0 + 0.5 + 1) / 5),
        ("dice_positive", (0 + 0.5 + 1) / 3),
        ("dice_pooled", 2 * 6 / (11 + 13)),
        ("empty_specificity", 1 / 2),
    ],
)
def test_each_convention_by_hand(metric, value):
    assert score(MIXED, metric) == pytest.approx(value, abs=1e-15)


@pytest.mark.parametrize("metric", ["dice_all", "dice_positive", "dice_pooled"])
def test_perfect_predictor_scores_1(metric):
    true = np.array([0, 5, 0, 7])
    assert score(Counts(true, true, true, true > 0), metric) == 1


def test_scores_that_no_image_defines_are_nan():
    assert np.isnan(score(all_empty(np.zeros(3, int), np.zeros(3, bool)), "dice_positive"))
    assert np.isnan(score(all_empty(np.ones(3, int), np.ones(3, bool)), "empty_specificity"))


def test_a_mask_too_small_for_the_size_is_one_all_the_same():
    nothing = np.zeros(2, int)
    counts = Counts(nothing, nothing, nothing, np.array([True, False]))
    assert score(counts, "dice_positive") == 0 and score(counts, "dice_all") == 0.5
    assert score(counts, "empty_specificity") == 1


def test_one_image_in_the_last_batch_counts_as_much_as_any():
    random = np.random.default_rng(0)
    predicted, true = (torch.from_numpy(random.random((9, 8, 8)) < p) for p in (0.3, 0.5))
    has_mask = np.ones(9, bool)
    both, marked, wanted = count_pixels(predicted, true)
    whole = Counts(both, marked, wanted, has_mask)
    parts = [count_pixels(predicted[k : k + 4], true[k : k + 4]) for k in (0, 4, 8)]
    both, marked, wanted = np.concatenate(parts, 1)
    by_parts = Counts(both, marked, wanted, has_mask)
    assert score(by_parts, "dice_all") == score(whole, "dice_all") == image_dice(whole).mean()


def test_a_resample_of_everyone_once_is_the_score():
    for metric in ("dice_all", "dice_positive", "dice_pooled", "empty_specificity"):
        once = resamples(MIXED, metric, np.ones((1, 5), np.uint16))
        assert once[0] == pytest.approx(score(MIXED, metric), abs=1e-15)


@pytest.fixture(scope="module")
def rsna_test():
    """Boxes of RSNA's 5,337 test images, on their own grid."""
    boxes = read_rsna_boxes(LABELS / "kaggle_stage_2_train_labels.csv.zip")
    images = rsna_images(boxes)
    chosen = set(images["id"][rsna_split(images["id"], "mgca") == "test"])
    return boxes[boxes["id"].isin(chosen)]


@with_labels
def test_predicting_nothing_scores_4086_of_5337_on_rsna(rsna_test):
    true = rsna_test.groupby("id")["Target"].max().to_numpy()
    assert score(all_empty(true, true > 0), "dice_all") == 4_086 / 5_337
    assert score(all_empty(true, true > 0), "dice_positive") == 0


@with_labels
def test_marking_everything_scores_its_known_value_on_rsna(rsna_test):
    marked = rsna_test[rsna_test["Target"] == 1]
    masks = {image: np.zeros((256, 256), bool) for image in marked["id"]}
    sides = marked[["x", "y", "width", "height"]].to_numpy().tolist()
    for image, box in zip(marked["id"], sides, strict=True):
        masks[image] |= box_to_mask(np.array(square_box(box, 1024, 1024)))
    true = np.array([mask.sum() for mask in masks.values()] + [0] * (5_337 - len(masks)))
    everything = all_ones(true, true > 0, 256**2)
    assert score(everything, "dice_positive") == pytest.approx(0.1970, abs=1e-4)
    assert score(everything, "dice_all") == pytest.approx(0.0462, abs=1e-4)


@with_labels
@pytest.mark.parametrize(("scheme", "value"), [("ids", 0.7786), ("rows", 0.7499)])
def test_predicting_nothing_scores_its_known_value_on_siim(scheme, value):
    masks = read_siim_masks(LABELS / "siim-pneumothorax-train-rle.csv.gz")
    table = siim_images(masks).assign(patient=lambda t: t["id"])
    if scheme == "ids":
        is_test = siim_split(masks, table, "ids")[0] == "test"
    else:
        rows = row_split(masks)
        is_test = table["id"].isin(rows["id"][rows["split"] == "test"])
    true = table["target"][is_test].to_numpy()
    assert score(all_empty(true, true > 0), "dice_all") == pytest.approx(value, abs=5e-5)
