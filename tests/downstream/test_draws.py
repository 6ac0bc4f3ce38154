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


@pytest.mark.parametrize(("fraction", "count"), [(0.001, 1), (0.01, 2), (0.0125, 3), (0.5, 100)])
def test_fraction_is_rounded_and_never_empty(fraction, count):
    assert len(draw_rows(ROWS, fraction, 0)) == count


def test_smaller_fraction_is_a_part_of_the_larger_one():
    assert set(draw_rows(ROWS, 0.1, 3)) < set(draw_rows(ROWS, 0.5, 3))


def test_seeds_draw_different_rows():
    assert set(draw_rows(ROWS, 0.1, 0)) != set(draw_rows(ROWS, 0.1, 1))
