import os

import numpy as np
import pytest
import torch

from mflag.config.feed import FeedConfig
from mflag.data.feeds import FEEDS, BatchReader, cache, open_feed
from mflag.data.feeds.levels import average_boxes, source_shrink
from mflag.data.feeds.resident import ResidentFeed, gather_images
from mflag.data.feeds.streamed import StreamedFeed
from mflag.data.index_stream import IndexStream
from mflag.errors import InputError

EVERY_FEED = {
    "streamed": FeedConfig("cache", resident="false"),
    "held": FeedConfig("cache", resident="true"),
    "torch": FeedConfig("torch", workers=0),
    "torch with workers": FeedConfig("torch", workers=2),
    "dali": FeedConfig("dali", workers=2),
}


@pytest.fixture(params=list(EVERY_FEED.values()), ids=list(EVERY_FEED))
def config(request):
    if request.param.name == "dali":
        pytest.importorskip("nvidia.dali", reason='pip install "mflag[dali]"')
    return request.param


def reader(prepared, image_size=64, batch_size=8):
    stream = IndexStream(len(prepared.rows("train")), batch_size, seed=0)
    return BatchReader(prepared, stream, image_size)


@pytest.mark.parametrize("image_size", [64, 224])
def test_every_feed_yields_the_batches_of_the_reader(prepared, config, image_size):
    steps = range(3, 15)
    expected = [reader(prepared, image_size).read(step) for step in steps]
    feed = open_feed(config, reader(prepared, image_size), steps)
    count = 0
    for batch, wanted in zip(feed, expected, strict=True):
        assert torch.equal(batch.images, wanted.images) and torch.equal(batch.rows, wanted.rows)
        count += 1
    feed.close()
    assert count == len(steps)


def test_a_batch_holds_the_images_of_its_rows(prepared):
    batch = reader(prepared, image_size=224).read(1)
    assert np.array_equal(batch.images[:, 0].numpy(), prepared.images[batch.rows.numpy()])


def test_a_feed_can_be_closed_early_and_twice(prepared, config):
    feed = open_feed(config, reader(prepared), range(100))
    next(iter(feed))
    feed.close()
    feed.close()


def test_a_feed_of_no_steps_is_over_at_once(prepared, config):
    feed = open_feed(config, reader(prepared), range(5, 5))
    assert list(feed) == []
    feed.close()


def test_a_streamed_feed_is_over_once_and_stays_over(prepared):
    feed = StreamedFeed(reader(prepared), range(2), prefetch=1)
    assert len(list(feed)) == 2
    assert list(feed) == []
    feed.close()


def test_a_streamed_feed_uses_the_same_memory_again(prepared):
    feed = StreamedFeed(reader(prepared), range(30), prefetch=2)
    assert len({batch.images.data_ptr() for batch in feed}) == 4
    feed.close()


@pytest.mark.parametrize("resident", ["true", "false"])
def test_images_cut_short_under_a_run_are_named(prepared, tmp_path, resident):
    whole = prepared.path / "images.u8"
    (tmp_path / "images.u8").write_bytes(whole.read_bytes())
    (tmp_path / "manifest.parquet").write_bytes((prepared.path / "manifest.parquet").read_bytes())
    copy = type(prepared)(tmp_path, prepared.images, prepared.info)
    short = reader(copy)
    os.truncate(tmp_path / "images.u8", 5 * 256 * 256)
    with pytest.raises(InputError, match="images.u8 was cut short: it has no image"):
        list(open_feed(FeedConfig("cache", resident=resident), short, range(9)))


def test_an_error_of_the_reader_reaches_the_loop(prepared):
    class Broken(BatchReader):
        def read_into(self, rows, images):
            raise InputError("images.u8 is gone")

    feed = open_feed(FeedConfig("cache"), Broken(prepared, IndexStream(8, 8, seed=0), 64), range(3))
    with pytest.raises(InputError, match="is gone"):
        list(feed)
    assert list(feed) == []
    feed.close()


@pytest.mark.parametrize(
    ("stored", "size", "shrink"),
    [
        (256, 32, 4), (256, 64, 2), (256, 96, 2), (256, 127, 2), (256, 128, 1), (256, 224, 1),
        (512, 448, 1), (512, 256, 1), (512, 224, 2), (512, 32, 8),
        (320, 224, 1), (320, 100, 2), (224, 64, 2), (224, 32, 4),
    ],
)  # fmt: skip
def test_small_training_images_come_from_a_box_averaged_level(stored, size, shrink):
    assert source_shrink(stored, size) == shrink


def test_averages_of_boxes_round_halves_up():
    image = np.array([[[0, 1, 9, 9], [1, 0, 9, 9]]], np.uint8)
    out = np.empty((1, 1, 2), np.uint8)
    average_boxes(image, 2, out)
    assert out.flatten().tolist() == [1, 9]


@pytest.mark.parametrize("shrink", [2, 4, 8, 16])
def test_averages_of_boxes_are_exact_up_to_white(shrink):
    random = np.random.default_rng(shrink)
    images = np.concatenate(
        [random.integers(0, 256, (2, 64, 64), np.uint8), np.full((1, 64, 64), 255, np.uint8)]
    )
    out = np.empty((3, 64 // shrink, 64 // shrink), np.uint8)
    average_boxes(images, shrink, out)
    boxes = images.reshape(3, 64 // shrink, shrink, 64 // shrink, shrink).astype(int)
    assert np.array_equal(out, np.floor(boxes.mean((2, 4)) + 0.5))


@pytest.mark.parametrize("side", [3, 4, 8])
def test_images_are_gathered_whole_whatever_their_size(side):
    images = torch.arange(5 * side * side).to(torch.uint8).view(5, 1, side, side)
    index = torch.tensor([4, 0, 0])
    assert torch.equal(gather_images(images, index), images[index])


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_memory_that_ends_while_images_are_loaded_is_said(prepared, monkeypatch, capsys, error):
    def load(reader):
        raise error

    monkeypatch.setattr(cache, "load_images", load)
    feed = open_feed(FeedConfig("cache", resident="true"), reader(prepared), range(2))
    assert isinstance(feed, StreamedFeed) and len(list(feed)) == 2
    feed.close()
    assert "out of memory on cpu while the images were loaded" in capsys.readouterr().err


def test_images_that_do_not_fit_are_read_ahead_and_the_figures_said(prepared, monkeypatch, capsys):
    monkeypatch.setattr(cache, "available_memory", lambda device: 700_000)
    feed = open_feed(FeedConfig("cache", resident="true"), reader(prepared, 96), range(1))
    feed.close()
    assert isinstance(feed, StreamedFeed)
    assert capsys.readouterr().err == (
        "feed: 48 images (0.000786 GB) do not fit on cpu and are read ahead; 0.0007 GB free\n"
    )


def test_held_images_are_those_of_the_level_that_training_asks_for(prepared, monkeypatch):
    monkeypatch.setattr(cache, "available_memory", lambda device: 48 * 128 * 128)
    feed = open_feed(FeedConfig("cache", resident="true"), reader(prepared, 96), range(1))
    assert isinstance(feed, ResidentFeed)
    feed.close()


@pytest.mark.parametrize(
    "config",
    [
        FeedConfig("tape"),
        FeedConfig("cache", prefetch=0),
        FeedConfig("torch", workers=-1),
        FeedConfig("cache", resident="maybe"),
        FeedConfig("cache", reserve_gb=-1),
        FeedConfig("cache", reserve_gb=float("nan")),
    ],
)
def test_a_wrong_feed_is_refused(prepared, config):
    with pytest.raises(InputError, match="feed"):
        open_feed(config, reader(prepared), range(2))


def test_every_feed_is_tested_here():
    assert {config.name for config in EVERY_FEED.values()} == set(FEEDS)
