"""The cache feed on the GPU: right images under a slow step, and the decision by real memory."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from mflag.config.feed import FeedConfig
from mflag.data.feeds import BatchReader, cache, open_feed, resident
from mflag.data.feeds.resident import ResidentFeed
from mflag.data.feeds.streamed import StreamedFeed
from mflag.data.index_stream import IndexStream
from mflag.data.manifest import FORMAT, open_prepared
from mflag.runtime.atomic_write import file_sha256
from mflag.runtime.memory import available_memory

pytestmark = pytest.mark.gpu

COUNT, BATCH, STEPS = 200, 16, 30
GPU = torch.device("cuda", 0)
SLOW_STEP = 20_000_000  # clock cycles: some ten milliseconds, longer than a copy


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Noise."""
    folder = tmp_path_factory.mktemp("prepared")
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 256, 256), np.uint8)
    images.tofile(folder / "images.u8")
    table = pd.DataFrame({"id": [str(row) for row in range(COUNT)], "split": "train", "text": ""})
    table.to_parquet(folder / "manifest.parquet")
    hashes = {name: file_sha256(folder / name) for name in ("manifest.parquet", "images.u8")}
    info = {"format": FORMAT, "count": COUNT, "image_size": 256, "hashes": hashes}
    (folder / "prepared.json").write_text(json.dumps(info))
    return open_prepared(folder)


def reader(prepared, image_size=224, device=GPU):
    return BatchReader(prepared, IndexStream(COUNT, BATCH, seed=0), image_size, device=device)


def train(feed):
    """Queue a slow step a batch and keep what it saw; nothing waits for the device before."""
    seen = []
    for batch in feed:
        assert batch.images.device == GPU and batch.rows.device.type == "cpu"
        torch.cuda._sleep(SLOW_STEP)
        seen.append(batch.images.clone())
    return [images.cpu() for images in seen]


@pytest.mark.parametrize("image_size", [224, 64])
@pytest.mark.parametrize("config", [
    FeedConfig(resident="true"), FeedConfig(resident="false"),
    FeedConfig(resident="false", prefetch=1),
], ids=["held", "streamed", "streamed one ahead"])  # fmt: skip
def test_every_slow_step_sees_its_own_images(prepared, config, image_size):
    feed = open_feed(config, reader(prepared, image_size), range(STEPS))
    seen = train(feed)
    feed.close()
    wanted = [reader(prepared, image_size, torch.device("cpu")).read(s) for s in range(STEPS)]
    assert all(torch.equal(a, b.images) for a, b in zip(seen, wanted, strict=True))


def test_images_are_loaded_in_parts_through_pinned_memory(prepared, monkeypatch):
    monkeypatch.setattr(resident, "_PART_BYTES", 7 * 65_536)
    images = resident.load_images(reader(prepared))
    torch.cuda.synchronize()
    assert np.array_equal(images[:, 0].cpu().numpy(), prepared.images)


def test_auto_holds_images_that_fit_and_reads_ahead_those_that_do_not(prepared, capsys):
    for reserve, kind, says in ((0.0, ResidentFeed, "are held on cuda:0"),
                                (1e4, StreamedFeed, "do not fit on cuda:0")):  # fmt: skip
        feed = open_feed(FeedConfig(reserve_gb=reserve), reader(prepared), range(2))
        assert isinstance(feed, kind) and says in capsys.readouterr().err
        feed.close()


def test_memory_that_is_taken_while_images_are_loaded_is_said(prepared, capsys):
    share = 1e6 / torch.cuda.get_device_properties(GPU).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(share, GPU)
    try:
        assert cache._load(reader(prepared)) is None
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, GPU)
    assert "out of memory on cuda:0 while the images were loaded" in capsys.readouterr().err


@pytest.mark.parametrize("held", ["true", "false"])
def test_no_batch_makes_the_loop_wait_for_the_device(prepared, held):
    feed = open_feed(FeedConfig(resident=held), reader(prepared), range(STEPS))
    batches = iter(feed)
    for _ in range(4):
        next(batches)
    torch.cuda.synchronize()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(10):
            next(batches).images.sum()
    finally:
        torch.cuda.set_sync_debug_mode(before)
        feed.close()


def test_closing_gives_the_memory_back(prepared):
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated(GPU)
    for held in ("true", "false"):
        feed = open_feed(FeedConfig(resident=held), reader(prepared), range(STEPS))
        for _ in zip(range(3), feed, strict=False):
            pass
        feed.close()
        del feed
    assert torch.cuda.memory_allocated(GPU) == before


def test_free_memory_of_the_device_is_below_its_total():
    free = available_memory(GPU)
    assert free is not None and 0 < free < torch.cuda.get_device_properties(GPU).total_memory
