import numpy as np
import pytest
import torch

from mflag.data.lesions import box_lesion, lesion_table, mask_lesion
from mflag.downstream.segmentation.masks import box_to_mask, read_masks, resize_masks
from mflag.errors import InputError
from tests.downstream.segmentation.conftest import DISC


def test_lesions_of_an_image_are_one_mask(make_lesions):
    box = box_lesion("i3", "box", [200, 200, 20, 10], (256, 256))
    masks = read_masks(make_lesions(lesion_table([mask_lesion("i3", "disc", DISC), box])), None)
    expected = DISC.copy()
    expected[200:210, 200:220] = True
    np.testing.assert_array_equal(masks.of(np.array([2, 3]))[1], expected)
    assert np.flatnonzero(masks.is_positive).tolist() == [3]
    assert (masks.finding, masks.names) == ("all lesions", ["box", "disc"])


def test_one_finding_leaves_the_others_out(make_lesions):
    box = box_lesion("i4", "box", [200, 200, 20, 10], (256, 256))
    prepared = make_lesions(lesion_table([mask_lesion("i3", "disc", DISC), box]))
    assert read_masks(prepared, "box").of(np.array([3, 4])).sum((1, 2)).tolist() == [0, 200]


def test_image_that_is_labelled_but_has_nothing_drawn_is_unknown(make_lesions):
    labelled = make_lesions().manifest["label/disc"].to_numpy() == 1
    only = int(np.flatnonzero(labelled)[0])
    prepared = make_lesions(lesion_table([mask_lesion(f"i{only}", "disc", DISC)]))
    known = read_masks(prepared, None).known
    assert (
        known[only]
        and known[~labelled].all()
        and not np.delete(known, only)[np.delete(labelled, only)].any()
    )


def test_generated_pneumonia_is_a_consolidation_and_an_opacity(make_lesions):
    lesions = lesion_table(
        [
            mask_lesion("i0", "Pneumonia", DISC),
            mask_lesion("i1", "Lung Opacity", DISC),
            mask_lesion("i2", "Fracture", DISC),
        ]
    )
    prepared = make_lesions(lesions, dataset="phantom")
    found = {f: np.flatnonzero(read_masks(prepared, f).is_positive).tolist() for f in
             (None, "Consolidation", "Pneumonia", "Fracture")}  # fmt: skip
    assert found == {None: [0, 1], "Consolidation": [0], "Pneumonia": [0], "Fracture": [2]}


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ([10, 20, 4, 2], (20, 22), (10, 14)),
        ([9.6, 19.5, 4.0, 2.0], (19, 21), (10, 14)),  # centres within decide
        ([30.6, 30.6, 0.2, 0.2], (30, 31), (30, 31)),  # none within: one pixel
        ([250.0, 250.0, 6.0, 6.0], (250, 256), (250, 256)),
        ([255.9, 255.9, 0.1, 0.1], (255, 256), (255, 256)),
    ],
)
def test_box_covers_the_pixels_whose_centre_it_holds(box, rows, columns):
    expected = np.zeros((256, 256), bool)
    expected[slice(*rows), slice(*columns)] = True
    np.testing.assert_array_equal(box_to_mask(np.array(box)), expected)


def test_masks_are_resized_to_whole_pixels():
    small = resize_masks(torch.from_numpy(DISC)[None], 96)
    assert small.dtype == torch.bool
    assert small.double().mean() == pytest.approx(DISC.mean(), rel=0.02)


def test_finding_that_is_not_there_is_refused_with_those_that_are(make_lesions):
    with pytest.raises(InputError, match="task.finding is 'ring'.*choose one of disc"):
        read_masks(make_lesions(), "ring")


def test_table_without_lesions_is_refused(make_lesions):
    with pytest.raises(InputError, match="there is nothing to find"):
        read_masks(make_lesions(lesion_table([])), None)
