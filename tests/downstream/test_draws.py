import numpy as np
import pytest

from mflag.downstream.draws import check_fractions, draw_rows, draws_of
from mflag.errors import InputError

ROWS = np.arange(100, 300)


@pytest.mark.parametrize("fraction", [[], 0, [0.1, 1.5], -0.1, "all", [True], None, [None]])
def test_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(InputError, match="fraction is"):
        check_fractions(fraction)


def test_one_number_is_a_list_of_one():
    assert check_fractions(0.1) == [0.1]


def test_all_labels_have_one_draw():
    assert draws_of([0.1, 1.0], 3) == [(0.1, 0), (0.1, 1), (0.1, 2), (1.0, 0)]


def test_all_labels_are_all_rows():
    np.testing.assert_array_equal(draw_rows(ROWS, 1.0, 5), ROWS)


@pytest.mark.parametrize(
    ("size", "fraction", "count"),
    [
        (200, 0.001, 1), (200, 0.01, 2), (200, 0.0125, 2), (100, 0.29, 29), (100, 0.07, 7),
        # as published: NIH, RSNA, SIIM, and MIMIC by the size of its train split
        (100_747, 0.01, 1_007), (100_747, 0.1, 10_074), (16_010, 0.01, 160), (16_010, 0.1, 1_601),
        (8_433, 0.01, 84), (8_433, 0.1, 843), (215_187, 0.01, 2_151), (215_187, 0.1, 21_518),
    ],
)  # fmt: skip
def test_fraction_is_cut_off_and_never_empty(size, fraction, count):
    assert len(draw_rows(np.arange(size), fraction, 0)) == count


def test_smaller_fraction_is_a_part_of_the_larger_one():
    assert set(draw_rows(ROWS, 0.1, 3)) < set(draw_rows(ROWS, 0.5, 3))


def test_seeds_draw_different_rows():
    assert set(draw_rows(ROWS, 0.1, 0)) != set(draw_rows(ROWS, 0.1, 1))
