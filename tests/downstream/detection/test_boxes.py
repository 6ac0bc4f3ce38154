import numpy as np
import pandas as pd
import pytest

from mflag.downstream.detection.boxes import read_boxes
from mflag.downstream.detection.detector import targets_of
from mflag.errors import InputError


@pytest.fixture
def make(make_prepared):
    """Give prepared data with lesions from (id, finding, x, y, width, height)."""

    def make(*lesions):
        prepared = make_prepared()
        columns = ["id", "finding", "x", "y", "width", "height"]
        table = pd.DataFrame(list(lesions), columns=columns)
        table.to_parquet(prepared.path / "lesions.parquet")
        return prepared

    return make


def test_boxes_become_shares_of_the_image_by_row(make):
    prepared = make(("i3", "nodule", 64, 128, 32, 64), ("i1", "edema", 0, 0, 256, 256),
                    ("i3", "edema", 0, 0, 16, 16))  # fmt: skip
    boxes = read_boxes(prepared, None)
    np.testing.assert_array_equal(
        boxes.of_row[3], [[0.25, 0.5, 0.375, 0.75], [0, 0, 0.0625, 0.0625]]
    )
    np.testing.assert_array_equal(boxes.of_row[1], [[0, 0, 1, 1]])
    assert boxes.of_row[2].shape == (0, 4) and len(boxes.of_row) == 80
    assert boxes.findings == ["edema", "nodule"]
    assert boxes.counts(np.array([1, 2, 3])) == {"images": 3, "positive": 2, "boxes": 3}


def test_one_finding_leaves_the_others_out(make):
    prepared = make(("i1", "nodule", 0, 0, 10, 10), ("i2", "edema", 0, 0, 10, 10))
    boxes = read_boxes(prepared, "edema")
    assert [len(boxes.of_row[row]) for row in (1, 2)] == [0, 1]


@pytest.mark.parametrize(
    ("lesions", "finding", "message"),
    [
        ([("i1", "nodule", 250, 0, 10, 10)], None, "lies outside of its image .x 250, y 0"),
        ([("i1", "nodule", -5, 0, 10, 10)], None, "lies outside of its image"),
        ([("i1", "nodule", float("nan"), 0, 10, 10)], None, "lies outside of its image"),
        ([("i1", "nodule", 50, 50, -10, 10)], None, "'i1' .* has no area"),
        ([("i1", "nodule", 50, 50, 10, 0)], None, "has no area"),
        ([("i1", "nodule", 50, 50, 10, 10)], "edema", "choose one of nodule, or null"),
        ([("stranger", "nodule", 50, 50, 10, 10)], None, "'stranger', which is not in the manif"),
        ([], None, "has no boxes; prepare a dataset with boxes"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_boxes_that_cannot_be_used_are_refused(make, lesions, finding, message):
    with pytest.raises(InputError, match=message):
        read_boxes(make(*lesions), finding)


def test_data_without_boxes_are_refused(make_prepared):
    with pytest.raises(InputError, match=r"csv came without boxes; prepare a dataset with boxes"):
        read_boxes(make_prepared(), None)


def test_a_table_that_is_no_parquet_is_refused(make_prepared):
    prepared = make_prepared()
    (prepared.path / "lesions.parquet").write_bytes(b"junk")
    with pytest.raises(InputError, match="cannot be read"):
        read_boxes(prepared, None)


def test_an_altered_table_is_refused(make):
    prepared = make(("i1", "nodule", 0, 0, 10, 10))
    prepared.info["hashes"]["lesions.parquet"] = "0" * 64
    with pytest.raises(InputError, match="was altered after prepare"):
        read_boxes(prepared, None)


def test_labels_read_twice_are_equal_and_cannot_be_scaled_in_place(make):
    boxes = read_boxes(make(("i1", "nodule", 64, 128, 32, 64)), None)
    rows = np.array([0, 1])
    first = targets_of(boxes.of(rows))
    kept = first["bboxes"].clone()
    first["bboxes"].mul_(0.5)  # what the published loader did to its labels
    np.testing.assert_array_equal(targets_of(boxes.of(rows))["bboxes"], kept)
    with pytest.raises(ValueError, match="read-only"):
        boxes.of_row[1][:] = 0


def test_targets_name_the_image_of_each_box_by_centre_and_size():
    boxes = [np.zeros((0, 4)), np.array([[0.25, 0.5, 0.5, 1.0]]), np.array([[0, 0, 1, 1.0]] * 2)]
    targets = targets_of(boxes)
    assert targets["batch_idx"].tolist() == [1, 2, 2]
    assert targets["bboxes"][0].tolist() == [0.375, 0.75, 0.25, 0.5]
    assert targets_of([np.zeros((0, 4))])["bboxes"].shape == (0, 4)
