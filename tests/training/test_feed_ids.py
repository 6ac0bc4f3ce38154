"""An epoch's ids, whoever reads, however many ranks, wherever a run was interrupted."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mflag.config.feed import FeedConfig
from mflag.data.feeds import BatchReader, open_feed
from mflag.data.index_stream import IndexStream

FEEDS = {
    "streamed": FeedConfig("cache", resident="false", prefetch=1),
    "held": FeedConfig("cache", resident="true"),
    "torch": FeedConfig("torch", workers=0),
}
TRAIN = 48


def rows_of_rank(prepared, config, stream, steps):
    """The rows of some steps, each with the sum of its image: an id must come with its image."""
    feed = open_feed(config, BatchReader(prepared, stream, 32), steps)
    try:
        return [
            (int(row), int(image.sum()))
            for batch in feed
            for row, image in zip(batch.rows, batch.images, strict=True)
        ]
    finally:
        feed.close()


@pytest.fixture(scope="module")
def sums(prepared):
    """The sum of every training image at the level that is read for 32 pixels."""
    reader = BatchReader(prepared, IndexStream(TRAIN, 1, seed=0), 32)
    batches = [reader.read(step) for step in range(TRAIN)]
    return {int(batch.rows[0]): int(batch.images.sum()) for batch in batches}


@pytest.mark.parametrize("config", FEEDS.values(), ids=FEEDS)
@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    ranks=st.integers(1, 4),
    batch=st.integers(1, 12),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 2),
    data=st.data(),
)
def test_an_epoch_yields_the_same_multiset(prepared, sums, config, ranks, batch, seed, epoch, data):
    streams = [IndexStream(TRAIN, batch, seed, rank, ranks) for rank in range(ranks)]
    steps = streams[0].steps_per_epoch
    begin, end = epoch * steps, (epoch + 1) * steps
    stop = data.draw(st.integers(begin, end), label="step at which the run was interrupted")
    found = Counter(
        pair
        for stream in streams
        for part in (range(begin, stop), range(stop, end))
        for pair in rows_of_rank(prepared, config, stream, part)
    )
    whole = IndexStream(TRAIN, batch * ranks, seed)  # one process that takes the joined batch
    places = np.concatenate([whole.positions(step) for step in range(begin, end)])
    rows = prepared.rows("train")[places].tolist()
    assert found == Counter((row, sums[row]) for row in rows)
    assert max(found.values()) == 1 and len(found) == TRAIN // (batch * ranks) * batch * ranks
