import numpy as np
import pytest
import torch

from mflag.downstream.retrieval.ranking import (
    chance_precision,
    finding_patterns,
    finding_precision,
    median_resamples,
    rank_reports,
)


def unit(shape, seed):
    return torch.nn.functional.normalize(
        torch.from_numpy(np.random.default_rng(seed).normal(size=shape))
    )


def test_reports_are_ordered_by_cosine_across_blocks():
    images, reports = unit((1100, 6), 0), unit((40, 6), 1)
    own = np.arange(1100) % 40
    found = rank_reports(images, reports, own)
    cosines = (images @ reports.T).numpy()
    for k in (0, 1023, 1024, 1099):
        order = np.argsort(-cosines[k])
        assert found.first[k].tolist() == order[:10].tolist()
        assert found.own[k] == order.tolist().index(own[k]) + 1


def test_equal_vectors_earn_no_more_than_chance():
    images, reports = torch.ones(2000, 3), torch.ones(50, 3)
    found = rank_reports(images, reports, np.arange(2000) % 50)
    assert np.median(found.own) == pytest.approx(25.5, abs=1)
    assert (found.own <= 5).mean() == pytest.approx(0.1)


def test_findings_match_where_no_known_label_differs():
    nan = np.nan
    images = np.array([[1, 0], [1, nan], [nan, nan]])
    reports = np.array([[1, 0], [1, 1], [0, 0], [nan, 0]])
    patterns = finding_patterns(images, reports)
    matches = patterns.matches[patterns.of_image][:, patterns.of_report]
    assert matches[:2].tolist() == [[True, False, False, True], [True, True, False, True]]
    assert chance_precision(patterns)[:2].tolist() == [0.5, 0.75]
    assert np.isnan(chance_precision(patterns)[2])  # nothing is known of that image


def test_reports_of_which_nothing_is_known_match_no_image():
    patterns = finding_patterns(np.array([[1.0], [0.0]]), np.array([[1.0], [np.nan]]))
    assert chance_precision(patterns).tolist() == [0.5, 0.0]


def test_precision_counts_the_closest_reports_with_the_same_findings():
    reports = torch.eye(4)
    images = torch.tensor([[0.9, 0.4, 0.1, 0.0]])
    patterns = finding_patterns(np.array([[1.0]]), np.array([[1.0], [0], [1], [1]]))
    ranking = rank_reports(images, reports, np.array([0]))
    assert [finding_precision(ranking, patterns, k)[0] for k in (1, 2, 3)] == [
        1, 0.5, pytest.approx(2 / 3),
    ]  # fmt: skip


def test_resamples_are_those_of_repeated_values():
    random = np.random.default_rng(3)
    values = random.integers(1, 90, 31).astype(float)
    weights = random.integers(0, 4, (250, 31)).astype(np.uint16)
    repeated = [np.repeat(values, row) for row in weights]
    medians = [np.quantile(v, 0.5, method="inverted_cdf") for v in repeated]
    assert median_resamples(values, weights) == pytest.approx(medians)


def test_a_resample_without_images_has_no_score():
    weights = np.array([[0, 0], [1, 2]])
    assert np.isnan(median_resamples(np.array([1.0, 2]), weights)[0])
