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
        table["runs"] = [[] for _ in lesions]
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
    assert (boxes.finding, boxes.names) == ("all lesions", ["edema", "nodule"])
    expected = {"images": 3, "positive": 2, "boxes": 3, "unknown": 0}
    assert boxes.counts(np.array([1, 2, 3])) == expected


def test_one_finding_leaves_the_others_out(make):
    prepared = make(("i1", "nodule", 0, 0, 10, 10), ("i2", "edema", 0, 0, 10, 10))
    boxes = read_boxes(prepared, "edema")
    assert [len(boxes.of_row[row]) for row in (1, 2)] == [0, 1]


def test_an_image_that_lacks_a_box_of_one_of_its_labels_is_unknown(make_prepared):
    both = np.ones(80, np.float32)
    prepared = make_prepared(**{"label/edema": both})
    disc = prepared.values("label/")[:, prepared.labels.index("disc")] == 1
    boxed = pd.DataFrame({"id": ["i1", "i1", "i2"], "finding": ["disc", "edema", "edema"]})
    boxed = boxed.assign(x=0.0, y=0.0, width=10.0, height=10.0)
    boxed["runs"] = [[] for _ in boxed["id"]]
    boxed.to_parquet(prepared.path / "lesions.parquet")
    known = read_boxes(prepared, None).known
    assert known[1] and known[2] == (not disc[2]) and not known[3:].any()


def test_an_image_that_is_labelled_but_has_no_box_is_unknown(make):
    prepared = make(("i1", "disc", 0, 0, 10, 10))
    labelled = prepared.values("label/")[:, 0] == 1
    boxes = read_boxes(prepared, None)
    expected = ~labelled
    expected[1] = True
    np.testing.assert_array_equal(boxes.known, expected)
    rows = np.arange(len(prepared))
    counts = boxes.counts(rows)
    assert counts["unknown"] == (~expected).sum()
    assert counts["images"] == expected.sum() and counts["boxes"] == 1


def test_a_box_outside_of_its_image_is_refused(make):
    with pytest.raises(InputError, match="lies outside of its image .x 250, y 0"):
        read_boxes(make(("i1", "nodule", 250, 0, 10, 10)), None)


def test_data_without_boxes_are_refused(make_prepared):
    with pytest.raises(InputError, match="prepare a dataset with them, such as dataset=rsna"):
        read_boxes(make_prepared(), None)


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
