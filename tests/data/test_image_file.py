import os
import pickle

import numpy as np
import pytest

from mflag.data.image_file import ImageFile
from mflag.errors import InputError


@pytest.fixture
def images(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 256, 256), np.uint8)
    pixels.tofile(tmp_path / "images.u8")
    return pixels


def test_rows_come_in_the_order_asked_for_and_may_repeat(images, tmp_path):
    rows = np.array([4, 0, 3, 3])
    assert np.array_equal(ImageFile(tmp_path / "images.u8", 256).read(rows), images[rows])


def test_another_process_may_unpickle_it(images, tmp_path):
    again = pickle.loads(pickle.dumps(ImageFile(tmp_path / "images.u8", 256)))
    assert np.array_equal(again.read(np.array([2])), images[[2]])


def test_reads_in_pieces_make_a_whole_image(images, tmp_path, monkeypatch):
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, parts, at: whole(file, [parts[0][:9999]], at))
    assert np.array_equal(ImageFile(tmp_path / "images.u8", 256).read(np.array([1])), images[[1]])


def test_a_file_that_is_cut_short_while_it_is_read_is_named(images, tmp_path):
    file = ImageFile(tmp_path / "images.u8", 256)
    os.truncate(tmp_path / "images.u8", 4 * 256 * 256 + 100)
    with pytest.raises(InputError, match="images.u8 was cut short: it has no image 4"):
        file.read(np.array([0, 4]))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot read .*images.u8: No such file"):
        ImageFile(tmp_path / "images.u8", 256)


def test_the_file_is_closed_with_its_reader(images, tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    file = ImageFile(tmp_path / "images.u8", 256)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    del file
    assert len(os.listdir("/proc/self/fd")) == before
