import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mflag.data.index_stream import IndexStream
from mflag.errors import InputError


def epoch(size, batch_size, seed, world_size, number):
    streams = [IndexStream(size, batch_size, seed, r, world_size) for r in range(world_size)]
    first = number * streams[0].steps_per_epoch
    steps = range(first, first + streams[0].steps_per_epoch)
    return np.concatenate([s.positions(step) for step in steps for s in streams])


@given(st.integers(8, 200), st.integers(0, 9), st.integers(0, 5))
def test_ranks_share_the_epoch_of_one_process(size, seed, number):
    assert np.array_equal(epoch(size, 8, seed, 1, number), epoch(size, 4, seed, 2, number))


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 9))
def test_no_study_comes_twice_in_an_epoch(size, batch_size, seed):
    batch_size = min(size, batch_size)
    seen = epoch(size, batch_size, seed, 1, 0)
    assert len(np.unique(seen)) == len(seen) == size // batch_size * batch_size


def test_a_step_is_a_pure_function():
    stream = IndexStream(100, 8, seed=1)
    late = stream.positions(30)
    for step in range(30):
        stream.positions(step)
    assert np.array_equal(late, stream.positions(30))


def test_epochs_and_seeds_have_different_orders():
    orders = [epoch(64, 8, seed, 1, number) for seed in (0, 1) for number in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


@pytest.mark.parametrize(("batch_size", "world_size"), [(0, 1), (11, 1), (6, 2)])
def test_a_batch_that_cannot_be_filled_is_refused(batch_size, world_size):
    with pytest.raises(InputError, match="train.batch_size"):
        IndexStream(10, batch_size, seed=0, world_size=world_size)
