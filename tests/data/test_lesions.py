import numpy as np
import pytest

from mflag.data.lesions import mask_to_runs, runs_to_mask


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mask_survives_the_round_trip(share):
    mask = np.random.default_rng(0).random((64, 48)) < share
    assert np.array_equal(runs_to_mask(mask_to_runs(mask), mask.shape), mask)


def test_runs_are_absolute_offsets_and_lengths():
    mask = np.zeros((3, 4), bool)
    mask[0, 1:3] = mask[2, 3] = True
    assert mask_to_runs(mask) == [1, 2, 11, 1]


def test_a_run_crosses_the_end_of_a_row():
    mask = np.zeros((2, 3), bool)
    mask[0, 2] = mask[1, 0] = True
    assert mask_to_runs(mask) == [2, 2]
