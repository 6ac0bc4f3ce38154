import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

from mflag.downstream.detection.average_precision import RECALLS, average_precisions
from mflag.downstream.detection.matching import IOU_THRESHOLDS, Predictions, match
from mflag.downstream.detection.protocols import judge, mean_average_precision, suppress
from mflag.errors import InputError

BOX = np.array([[10.0, 20.0, 50.0, 60.0]])
NONE = np.zeros((0, 4))


def predictions(*images):
    """Predictions from (boxes, scores) of each image."""
    image = np.repeat(np.arange(len(images)), [len(s) for _, s in images])
    boxes = np.concatenate([np.asarray(b, float).reshape(-1, 4) for b, _ in images])
    return Predictions(image, boxes, np.concatenate([np.asarray(s, float) for _, s in images]))


def random_case(seed, count=12):
    """Noisy predictions of random boxes; several a box, false alarms, images without either."""
    random = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(count):
        corner = random.uniform(0, 60, (random.integers(0, 4), 2))
        boxes = np.concatenate([corner, corner + random.uniform(20, 40, corner.shape)], 1)
        copies = np.repeat(boxes, random.integers(0, 3, len(boxes)), axis=0)
        alarms = np.sort(random.uniform(0, 90, (random.integers(0, 3), 2, 2)), 1).reshape(-1, 4)
        guesses = np.concatenate([copies + random.normal(0, 3, copies.shape), alarms])
        scores = -np.sort(-random.uniform(0.002, 1, len(guesses)))
        truths.append(boxes)
        found.append((guesses, scores))
    return truths, found


def oracle(truths, found, recalls=RECALLS):
    """torchmetrics' mean average precision, which calls pycocotools."""
    metric = MeanAveragePrecision(
        iou_thresholds=list(IOU_THRESHOLDS), rec_thresholds=recalls.tolist()
    )
    metric.warn_on_many_detections = False
    for boxes, (guesses, scores) in zip(truths, found, strict=True):
        metric.update(
            [
                {
                    "boxes": torch.tensor(guesses).reshape(-1, 4),
                    "scores": torch.tensor(scores),
                    "labels": torch.zeros(len(scores), dtype=torch.long),
                }
            ],
            [
                {
                    "boxes": torch.tensor(boxes).reshape(-1, 4),
                    "labels": torch.zeros(len(boxes), dtype=torch.long),
                }
            ],
        )
    return metric.compute()["map"].item()


def test_known_answers_of_the_three_protocols():
    truths = [BOX, BOX, NONE]
    judged = judge(predictions((BOX, [0.9]), (NONE, []), (BOX, [0.95])), truths)
    positives = judge(predictions((BOX, [0.9]), (NONE, [])), truths[:2])
    assert mean_average_precision(judged.mgca)[0, 0] == pytest.approx(1.0, abs=1e-12)
    assert mean_average_precision(positives.full)[0, 0] == pytest.approx(51 / 101, abs=1e-12)
    assert mean_average_precision(judged.full)[0, 0] == pytest.approx(51 * 0.5 / 101, abs=1e-12)
    assert judged.kept == 1


@pytest.mark.parametrize("seed", range(20))
def test_equals_pycocotools_on_random_boxes(seed):
    truths, found = random_case(seed)
    value = mean_average_precision(judge(predictions(*found), truths).full)[0, 0]
    assert value == pytest.approx(oracle(truths, found), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_mgca_is_pycocotools_on_the_images_that_it_keeps(seed):
    truths, found = random_case(seed)
    sure = [(np.asarray(b)[s >= 0.5], s[s >= 0.5]) for b, s in found]
    kept = [k for k in range(len(truths)) if len(truths[k]) and len(sure[k][1])]
    judged = judge(predictions(*found), truths)
    expected = oracle([truths[k] for k in kept], [sure[k] for k in kept])
    assert judged.kept == len(kept) < len(truths)
    assert mean_average_precision(judged.mgca)[0, 0] == pytest.approx(expected, abs=1e-6)


def test_an_image_that_counts_twice_is_two_images():
    truths, found = random_case(3)
    counts = np.random.default_rng(0).integers(0, 4, (10, len(truths)))
    resampled = average_precisions(judge(predictions(*found), truths).full, counts)
    for row, weights in zip(resampled, counts, strict=True):
        places = np.repeat(np.arange(len(truths)), weights)
        repeated = predictions(*[found[k] for k in places])
        expected = average_precisions(judge(repeated, [truths[k] for k in places]).full)
        np.testing.assert_allclose(row, expected[0], rtol=1e-12)


def test_chunks_of_resamples_do_not_change_the_result(monkeypatch):
    truths, found = random_case(1)
    weights = np.random.default_rng(0).integers(0, 3, (7, len(truths)))
    matches = judge(predictions(*found), truths).full
    whole = average_precisions(matches, weights)
    monkeypatch.setattr("mflag.downstream.detection.average_precision._CHUNK_CELLS", 1)
    np.testing.assert_array_equal(average_precisions(matches, weights), whole)


def test_a_resample_without_a_true_box_is_undefined():
    matches = judge(predictions((BOX, [0.9]), (NONE, [])), [BOX, NONE]).full
    scores = mean_average_precision(matches, np.array([[0, 2], [1, 1]]))
    assert np.isnan(scores[0, 0]) and scores[1, 0] == pytest.approx(1)


def test_who_predicts_nothing_scores_zero():
    judged = judge(predictions((NONE, []), (NONE, [])), [BOX, NONE])
    assert mean_average_precision(judged.full)[0, 0] == 0
    assert (mean_average_precision(judged.mgca, np.array([[1, 1], [0, 2]])) == 0).all()
    assert judged.kept == 0


def test_a_second_prediction_of_the_same_box_is_a_false_alarm():
    matches = match(predictions((np.repeat(BOX, 2, 0), [0.9, 0.8])), [BOX])
    assert matches.hits[0].all() and not matches.hits[1].any()


def test_the_surer_prediction_takes_the_box_that_it_overlaps_most():
    two = np.array([[0.0, 0, 10, 10], [2, 0, 12, 10]])
    matches = match(predictions((np.array([[2.0, 0, 12, 10], [2, 0, 12, 10]]), [0.9, 0.8])), [two])
    at_half = matches.hits[:, IOU_THRESHOLDS.index(0.5)]
    assert at_half.all()  # the second gets the other box, IoU 0.67
    assert not matches.hits[1, IOU_THRESHOLDS.index(0.7)]


def test_predictions_that_are_no_numbers_are_refused():
    with pytest.raises(InputError, match="smaller task.lr"):
        match(predictions((BOX * np.nan, [0.9])), [BOX])


def test_suppression_keeps_the_surest_of_overlapping_boxes_in_order():
    boxes = np.stack([np.concatenate([BOX, BOX + 1, BOX + 100, BOX + 300])])
    kept = suppress(boxes, np.array([[0.3, 0.8, 0.9, 0.0005]]))
    np.testing.assert_array_equal(kept.scores, [0.9, 0.8])
    np.testing.assert_array_equal(kept.boxes, [BOX[0] + 100, BOX[0] + 1])


def test_suppression_leaves_a_hundred_predictions_an_image():
    corners = np.arange(150.0)[:, None] * 50 + np.zeros((1, 2))
    boxes = np.concatenate([corners, corners + 10], 1)[None].repeat(2, 0)
    kept = suppress(boxes, np.linspace(0.1, 0.9, 300).reshape(2, 150))
    assert np.bincount(kept.image).tolist() == [100, 100]
