"""Feed ``dali``: the same batches as the cache, from every file that users have."""

import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mflag.config.feed import FeedConfig
from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.feeds import FEEDS, Batch, BatchReader, check_feed, check_feed_data, open_feed
from mflag.data.index_stream import IndexStream
from mflag.data.manifest import Prepared
from mflag.data.preparing import prepare
from mflag.errors import InputError
from tests.training.dali_files import (
    COLOUR_INTERIOR,
    FILES,
    INTERIOR,
    MEAN,
    chest,
    prepare_files,
    saved,
)

DALI = pytest.importorskip("nvidia.dali", reason='pip install "mflag[dali]"')
ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("MFLAG_REAL_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="module")
def kinds(tmp_path_factory) -> Prepared:
    folder = tmp_path_factory.mktemp("kinds")
    return prepare_files(folder, {name: make() for name, (make, _) in FILES.items()})


@pytest.fixture
def few(tmp_path) -> Prepared:
    return prepare_files(
        tmp_path,
        {f"p{k}/{k}.jpg": saved(Image.fromarray(chest(60, 50, k)), "JPEG") for k in range(16)},
    )


def reader_of(prepared, batch_size=4, image_size=224, **ranks):
    stream = IndexStream(len(prepared.rows("train")), batch_size, seed=0, **ranks)
    return BatchReader(prepared, stream, image_size)


def read(reader, steps, name="dali", **options):
    feed = open_feed(FeedConfig(name, workers=1, **options), reader, steps)
    try:
        # A feed may use the memory of a batch again for the next one.
        return [Batch(batch.images.clone(), batch.rows) for batch in feed]
    finally:
        feed.close()


def interior(prepared, row, width, height, margin=2) -> tuple[slice, slice]:
    """Where an image lies, without the pixels at its edge."""
    scale = 256 / max(width, height)
    high, wide = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (256 - high) // 2 + margin, (256 - wide) // 2 + margin
    return slice(top, top + high - 2 * margin), slice(left, left + wide - 2 * margin)


def by_id(prepared, batches):
    ids = prepared.column("id").to_pylist()
    return {
        ids[row]: image[0].numpy().astype(int)
        for batch in batches
        for row, image in zip(batch.rows.tolist(), batch.images, strict=True)
    }


def differences(prepared, decoded):
    """By id: the largest difference away from the edge, and the mean one."""
    found = {}
    for row, name in enumerate(prepared.column("id").to_pylist()):
        if name in decoded:
            away = np.abs(decoded[name] - prepared.images[row])
            with Image.open(Path(prepared.info["root"]) / name) as image:
                inside = away[interior(prepared, row, *image.size)]
            found[name] = (int(inside.max()) if inside.size else 0, float(away.mean()))
    return found


def test_every_kind_of_file_gives_the_pixels_of_the_cache(kinds):
    decoded = by_id(kinds, read(reader_of(kinds, 6), range(3)))
    assert set(decoded) == set(FILES)
    for name, (inside, mean) in differences(kinds, decoded).items():
        allowed = FILES[name][1]
        assert inside <= allowed and mean <= min(allowed, COLOUR_INTERIOR * MEAN), (
            name,
            inside,
            mean,
        )


@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is absent (MFLAG_REAL_DATA)")
@pytest.mark.parametrize(
    ("pattern", "count", "allowed"),
    [("hannover/png/*.png", 32, INTERIOR), ("samples/*.jp*g", 1, COLOUR_INTERIOR)],
)
def test_real_radiographs_come_as_from_the_cache(tmp_path, pattern, count, allowed):
    paths = sorted(REAL.glob(pattern))[:count]
    prepared = prepare_files(tmp_path, {path.name: path.read_bytes() for path in paths})
    decoded = by_id(prepared, read(reader_of(prepared, count), range(1)))
    found = differences(prepared, decoded)
    assert len(found) == count
    assert max(inside for inside, _ in found.values()) <= allowed
    assert max(mean for _, mean in found.values()) <= allowed * MEAN


def test_the_three_feeds_give_the_same_rows_and_near_images(few):
    batches = {name: read(reader_of(few, 4), range(2, 7), name) for name in FEEDS}
    for cache, torch_, dali in zip(*(batches[n] for n in ("cache", "torch", "dali")), strict=True):
        assert torch.equal(cache.rows, dali.rows) and torch.equal(cache.images, torch_.images)
        assert cache.images.shape == dali.images.shape and dali.images.dtype == torch.uint8
        assert (cache.images.int() - dali.images.int()).abs().float().mean() <= MEAN


@pytest.mark.parametrize("image_size", [32, 64, 224])
def test_small_training_images_come_from_the_same_level(few, image_size):
    (cache,), (dali,) = (
        read(reader_of(few, 4, image_size), range(1), n) for n in ("cache", "dali")
    )
    assert cache.images.shape == dali.images.shape
    assert (cache.images.int() - dali.images.int()).abs().float().mean() <= MEAN


@pytest.mark.parametrize("prefetch", [1, 3])
def test_resuming_at_any_step_gives_the_batches_of_the_whole_run(few, prefetch):
    whole = read(reader_of(few), range(9), prefetch=prefetch)
    for start in (1, 4, 8):
        rest = read(reader_of(few), range(start, 9), prefetch=prefetch)
        for batch, wanted in zip(rest, whole[start:], strict=True):
            assert torch.equal(batch.rows, wanted.rows)
            assert torch.equal(batch.images, wanted.images)


@dataclass(frozen=True)
class RaggedStream(IndexStream):
    """The last step of an epoch holds what is left."""

    def positions(self, step):
        return super().positions(step)[: 3 if step % 2 else 4]


def test_a_ragged_batch_is_as_long_as_the_stream_says(few):
    reader = BatchReader(few, RaggedStream(16, 4, seed=0), 224)
    assert [len(batch.images) for batch in read(reader, range(7))] == [4, 3, 4, 3, 4, 3, 4]


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(sorted(FEEDS)),
    world_size=st.integers(1, 4),
    batch_size=st.integers(1, 4),
    epoch=st.integers(0, 2),
    data=st.data(),
)
def test_ids_of_an_epoch_are_the_same_for_every_feed_rank_count_and_resume_point(
    prepared, name, world_size, batch_size, epoch, data
):
    size = len(prepared.rows("train"))
    alone = IndexStream(size, batch_size * world_size, seed=5)
    begin, count = epoch * alone.steps_per_epoch, alone.steps_per_epoch
    stop = data.draw(st.integers(begin, begin + count), label="resumed at")
    expected = np.concatenate([alone.positions(step) for step in range(begin, begin + count)])
    found: list[int] = []
    for rank in range(world_size):
        stream = IndexStream(size, batch_size, 5, rank, world_size)
        for steps in (range(begin, stop), range(stop, begin + count)):
            batches = read(BatchReader(prepared, stream, 32), steps, name)
            found += [row for batch in batches for row in batch.rows.tolist()]
    assert sorted(found) == sorted(prepared.rows("train")[expected].tolist())


def test_an_error_of_the_stream_is_not_blamed_on_a_file(few):
    class Broken(IndexStream):
        def positions(self, step):
            return np.array([99])

    with pytest.raises(IndexError, match="99 is out of bounds"):
        read(BatchReader(few, Broken(16, 4, seed=0), 224), range(3))


def victim(prepared, batch=2, place=1) -> Path:
    """A file of a batch that is read after the feed was opened."""
    row = reader_of(prepared).rows_of(batch)[place]
    return Path(prepared.info["root"]) / prepared.column("file")[int(row)].as_py()


def huge(size: int) -> bytes:
    Image.MAX_IMAGE_PIXELS, before = None, Image.MAX_IMAGE_PIXELS
    try:
        return saved(Image.new("1", (size, size)), "PNG")
    finally:
        Image.MAX_IMAGE_PIXELS = before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.unlink(), "cannot be read: No such file or directory; restore it"),
        (lambda p: p.write_bytes(p.read_bytes()[:-200]), "was changed after prepare (it has"),
        (lambda p: p.write_bytes(b""), "it has 0 bytes"),
        (lambda p: (p.unlink(), p.mkdir()), "was changed after prepare"),
        (lambda p: p.write_bytes(saved(Image.new("L", (1, 1)), "JPEG")), "was changed after"),
        (lambda p: p.write_bytes(huge(20_000)), "was changed after"),
    ],
    ids=["gone", "cut short", "empty", "a folder", "1 x 1", "20,000 x 20,000"],
)
def test_a_changed_file_is_named_with_what_to_do(few, spoil, message):
    path = victim(few)
    spoil(path)
    with pytest.raises(InputError) as raised:
        read(reader_of(few), range(6))
    assert str(path) in str(raised.value) and message in str(raised.value)
    assert "use feed=cache" in str(raised.value)


def test_a_file_that_vanishes_between_batches_stops_the_feed_and_nothing_hangs(few):
    feed = open_feed(FeedConfig("dali", workers=1, prefetch=1), reader_of(few), range(400))
    batches = iter(feed)
    next(batches)
    for path in Path(few.info["root"]).rglob("*.jpg"):
        path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        list(batches)
    feed.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mflag-feed")]


def same_length(path: Path, content: bytes) -> None:
    """Replace a file's content and keep its length, which is all that prepare noted."""
    length = path.stat().st_size
    assert len(content) <= length
    path.write_bytes(content + b"\0" * (length - len(content)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n", "not an image"),
        (b"\0" * 128 + b"DICM", "a DICOM file"),
        (None, "truncated or damaged"),
    ],
    ids=["no image", "DICOM", "half of it zeros"],
)
def test_a_broken_file_of_the_same_length_is_named(few, content, message):
    path = victim(few)
    half = path.read_bytes()[: path.stat().st_size // 2]
    same_length(path, half if content is None else content)
    os.utime(path, (0, 0))
    with pytest.raises(InputError) as raised:
        read(reader_of(few), range(6))
    assert str(path) in str(raised.value) and message in str(raised.value)


def test_a_file_replaced_while_training_by_one_of_its_length_is_noticed(few):
    feed = open_feed(FeedConfig("dali", workers=1, prefetch=1), reader_of(few), range(400))
    batches = iter(feed)
    next(batches)
    path = victim(few)
    other = saved(Image.fromarray(chest(30, 20, 99)), "JPEG", quality=30)
    same_length(path, other)
    with pytest.raises(InputError, match="other pixels than the prepared image"):
        list(batches)
    feed.close()


def test_a_file_that_only_dali_refuses_is_named(few, monkeypatch):
    from mflag.data.feeds import dali

    path = victim(few)
    png = saved(Image.fromarray(chest(8, 8)), "PNG")
    monkeypatch.setattr(dali.OriginalFiles, "decode", lambda self, row: self._prepared.images[row])
    same_length(path, png[:60])  # a header without pixels
    os.utime(path, (0, 0))
    with pytest.raises(InputError, match="cannot be decoded by DALI") as raised:
        read(reader_of(few), range(6))
    assert str(path) in str(raised.value)


def test_files_that_moved_are_found_by_feed_root(few, tmp_path):
    wanted = read(reader_of(few), range(2))
    os.rename(few.info["root"], tmp_path / "moved")
    with pytest.raises(InputError, match="set feed.root"):
        check_feed_data(FeedConfig("dali"), few)
    check_feed_data(FeedConfig("dali", root=str(tmp_path / "moved")), few)
    found = read(reader_of(few), range(2), root=str(tmp_path / "moved"))
    assert all(torch.equal(a.images, b.images) for a, b in zip(found, wanted, strict=True))


def test_another_folder_as_feed_root_is_refused(few, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="is missing; set feed.root"):
        check_feed_data(FeedConfig("dali", root=str(tmp_path / "other")), few)


def test_generated_studies_have_no_files(tmp_path):
    config = PrepareConfig(
        dataset=DatasetConfig(name="phantom", size=2, seed=0), out=str(tmp_path / "out"), workers=1
    )
    with pytest.raises(InputError, match="does not say which files.*dataset=phantom.*feed=cache"):
        check_feed_data(FeedConfig("dali"), prepare(config))


def test_prepare_notes_folder_names_and_lengths(few):
    assert few.info["root"] == os.path.abspath(few.info["options"]["root"])
    for name, length in zip(few.column("file").to_pylist(), few.column("file_bytes"), strict=True):
        assert os.path.getsize(os.path.join(few.info["root"], name)) == length.as_py()


def test_the_decode_ceiling_is_printed_once(few, capsys):
    read(reader_of(few), range(8))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "images/s" in line]
    assert line.startswith("feed=dali: reads and decodes about ")
    assert "CPU, 1 threads, measured on 12 images" in line


def test_missing_dali_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(InputError, match=r'pip install "mflag\[dali\]"'):
        check_feed(FeedConfig("dali"))
