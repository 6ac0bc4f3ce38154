import numpy as np
import pytest

from mflag.downstream.results import Scores, merge_notes, processor


def add(scores, encoder, seed, value, samples, metric="macro_auc", fraction=0.1, protocol="linear"):
    scores.add(
        np.asarray(samples, float), task="classification", dataset="csv", encoder=encoder,
        protocol=protocol, fraction=fraction, seed=seed, metric=metric, value=value,
        n_train=4, n_test=9,
    )  # fmt: skip


@pytest.fixture
def scores():
    """Two draws of two encoders; the second is 0.1 better in every resample."""
    found = Scores()
    for seed, value in enumerate((0.6, 0.8)):
        samples = value + np.linspace(-0.1, 0.1, 101)
        add(found, "worse", seed, value, samples)
        add(found, "better", seed, value + 0.1, samples + 0.1)
    return found


def test_interval_of_a_row_is_that_of_its_samples(scores):
    row = scores.as_dicts()[0]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((0.505, 0.695))


def test_summary_is_the_mean_over_draws_with_their_spread(scores):
    row = scores.summary()[0]
    assert row["value"] == pytest.approx(0.7)
    assert row["sd"] == pytest.approx(0.2 / 2**0.5)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((0.605, 0.795))


def test_one_draw_has_no_spread():
    found = Scores()
    add(found, "only", 0, 0.5, [0.4, 0.6])
    assert found.summary()[0]["sd"] is None


def test_differences_are_paired_by_resample(scores):
    (row,) = scores.differences(("macro_auc",), ["better"])
    assert (row["encoder"], row["minus"]) == ("better", "worse")
    assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx((0.1, 0.1, 0.1))


def test_each_pair_is_subtracted_once(scores):
    assert len(scores.differences(("macro_auc",), ["worse", "better"])) == 1


def test_score_that_one_side_lacks_has_no_difference(scores):
    add(scores, "better", 0, 0.5, [0.4, 0.6], metric="unmentioned_r2")
    assert not scores.differences(("unmentioned_r2",), ["better"])


def test_protocols_are_neither_averaged_nor_subtracted_from_each_other(scores):
    add(scores, "better", 0, 0.5, [0.4, 0.6], protocol="finetune")
    rows = [(row["encoder"], row["protocol"], row["draws"]) for row in scores.summary()]
    assert ("better", "finetune", 1) in rows and ("better", "linear", 2) in rows
    assert [row["protocol"] for row in scores.differences(("macro_auc",), ["better"])] == ["linear"]


def test_draw_that_one_side_lacks_is_left_out_of_the_difference(scores):
    add(scores, "better", 2, 0.1, np.full(101, 0.1))
    (row,) = scores.differences(("macro_auc",), ["better"])
    assert row["value"] == pytest.approx(0.1)


def test_row_without_defined_resamples_has_no_interval():
    found = Scores()
    add(found, "only", 0, 0.5, [np.nan, np.nan])
    assert found.as_dicts()[0]["ci_low"] is None


def test_equal_notes_are_told_once():
    notes = [("left out: a", 0.01, 1), ("left out: a", 0.01, 0), ("left out: b", 0.1, 0)]
    assert merge_notes(notes) == [
        "fraction 0.01, seeds 0, 1: left out: a",
        "fraction 0.1, seed 0: left out: b",
    ]


def test_processor_is_the_model_name(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n")
    assert processor(tmp_path / "cpuinfo") == "Some CPU @ 2 GHz"
