import numpy as np
import pytest
import torch

from mflag.config.feed import FeedConfig
from mflag.data.feeds import FEEDS, BatchReader, open_feed
from mflag.data.feeds.batch import box_average, source_shrink
from mflag.data.index_stream import IndexStream
from mflag.errors import InputError


def reader(prepared, image_size=64):
    stream = IndexStream(len(prepared.rows("train")), 8, seed=0)
    return BatchReader(prepared, stream, image_size)


def skip_without_dali(name):
    if name == "dali":
        pytest.importorskip("nvidia.dali", reason='pip install "mflag[dali]"')


def read(prepared, name, steps, workers=0):
    feed = open_feed(FeedConfig(name, workers=workers), reader(prepared), steps)
    try:
        return list(feed)
    finally:
        feed.close()


@pytest.mark.parametrize(
    ("name", "workers"), [("cache", 0), ("torch", 0), ("torch", 2), ("dali", 2)]
)
def test_every_feed_yields_the_batches_of_the_reader(prepared, name, workers):
    skip_without_dali(name)
    steps = range(3, 9)
    expected = [reader(prepared).read(step) for step in steps]
    batches = read(prepared, name, steps, workers)
    assert len(batches) == len(expected)
    for batch, wanted in zip(batches, expected, strict=True):
        assert torch.equal(batch.images, wanted.images) and torch.equal(batch.rows, wanted.rows)


def test_a_batch_holds_the_images_of_its_rows(prepared):
    batch = reader(prepared, image_size=224).read(1)
    assert np.array_equal(batch.images[:, 0].numpy(), prepared.images[batch.rows.numpy()])


@pytest.mark.parametrize("name", FEEDS)
def test_a_feed_can_be_closed_early_and_twice(prepared, name):
    skip_without_dali(name)
    feed = open_feed(FeedConfig(name, workers=1), reader(prepared), range(100))
    next(iter(feed))
    feed.close()
    feed.close()


def test_an_error_of_the_reader_reaches_the_loop(prepared):
    class Broken(BatchReader):
        def read(self, step):
            raise InputError("images.u8 is gone")

    broken = Broken(prepared, IndexStream(8, 8, seed=0), 64)
    with pytest.raises(InputError, match="is gone"):
        list(open_feed(FeedConfig("cache"), broken, range(3)))


@pytest.mark.parametrize(
    ("size", "shrink"), [(32, 4), (64, 2), (96, 2), (127, 2), (128, 1), (224, 1)]
)
def test_small_training_images_come_from_a_box_averaged_level(size, shrink):
    assert source_shrink(size) == shrink


def test_box_average_rounds_halves_up():
    image = torch.tensor([[0, 1, 9, 9], [1, 0, 9, 9]], dtype=torch.uint8).view(1, 1, 2, 4)
    assert box_average(image, 2).flatten().tolist() == [1, 9]


@pytest.mark.parametrize(
    "config", [FeedConfig("tape"), FeedConfig("cache", prefetch=0), FeedConfig("torch", workers=-1)]
)
def test_a_wrong_feed_is_refused(prepared, config):
    with pytest.raises(InputError, match="feed"):
        open_feed(config, reader(prepared), range(2))
