import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mflag.data import images
from mflag.data.images import (
    Rejected,
    read_grey,
    read_image,
    square_box,
    square_image,
    square_mask,
)

GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6  # colour types of PNG


def write_png16(path: Path, pixels: np.ndarray, colour_type: int) -> None:
    """A 16-bit PNG of (H, W, channels), which Pillow cannot write; row filters are in use."""
    rows = [np.frombuffer(row.astype(">u2").tobytes(), np.uint8) for row in pixels]
    above = [np.zeros_like(rows[0]), *rows[:-1]]
    filtered = b"".join(
        b"\2" + (row - up).tobytes() for row, up in zip(rows, above, strict=True)
    )  # 2: up
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(filtered)), (b"IEND", b"")):
        crc = struct.pack(">I", zlib.crc32(kind + body))
        content += struct.pack(">I", len(body)) + kind + body + crc
    path.write_bytes(content)


def ramp(height: int, width: int) -> np.ndarray:
    return np.arange(height * width, dtype=np.uint16).reshape(height, width)


def test_square_of_the_right_size_is_only_stretched():
    grey = np.tile(np.arange(100, 164, dtype=np.uint8).repeat(4), (256, 1))
    expected = np.rint((grey - 100.0) * 255 / 63)
    assert np.array_equal(square_image(grey), expected)


def test_sixteen_bit_range_survives_until_it_is_stretched():
    grey = 1000 + ramp(256, 256) // 256  # 256 neighbouring values: 8 bits would hold one or two
    assert len(np.unique(square_image(grey))) == 256


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [((100, 200), (64, 192), (0, 256)), ((512, 128), (0, 256), (96, 160))],
    ids=["wide-enlarged", "tall-shrunk"],
)
def test_image_is_centred_on_black(shape, rows, columns):
    grey = np.full(shape, 200, np.uint8)
    grey[0, 0] = 0
    inside = np.zeros((256, 256), bool)
    inside[slice(*rows), slice(*columns)] = True
    assert np.array_equal(square_image(grey)[~inside], np.zeros((~inside).sum(), np.uint8))
    assert square_image(grey)[128, 128] == 255


def test_shrinking_averages_instead_of_skipping_pixels():
    stripes = np.tile(np.array([0, 255], np.uint8), (1024, 512))
    middle = square_image(stripes)[64:192, 64:192]
    assert np.abs(middle.astype(int) - 128).max() <= 2


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_grey_png_of_any_mode_reads_as_its_grey_values(tmp_path, mode):
    grey = np.arange(200, dtype=np.uint8).reshape(10, 20)
    Image.fromarray(grey).convert(mode).save(tmp_path / "x.png")
    assert np.array_equal(read_grey(tmp_path / "x.png"), grey)


def test_colour_becomes_luminance(tmp_path):
    Image.new("RGB", (2, 2), (100, 150, 200)).save(tmp_path / "x.png")
    assert read_grey(tmp_path / "x.png")[0, 0] == round(0.299 * 100 + 0.587 * 150 + 0.114 * 200)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_reads_as_its_grey_values(tmp_path, mode):
    grey = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (16, 1))
    Image.fromarray(grey).convert(mode).save(tmp_path / "x.jpg", quality=100)
    assert np.abs(read_grey(tmp_path / "x.jpg").astype(int) - grey).max() <= 2


@pytest.mark.parametrize(
    ("colour_type", "channels"),
    [(GREY, 1), (GREY_ALPHA, 2), (RGB, 3), (RGBA, 4)],
    ids=["grey", "grey-alpha", "rgb", "rgba"],
)
def test_sixteen_bit_png_keeps_every_bit(tmp_path, colour_type, channels):
    grey = 40_000 + ramp(30, 40)
    pixels = np.repeat(grey[..., None], channels, -1)
    if channels in (2, 4):
        pixels[..., -1] = 7  # alpha is dropped
    write_png16(tmp_path / "x.png", pixels, colour_type)
    assert np.array_equal(read_grey(tmp_path / "x.png"), grey)


def damaged(kind: str, path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(path)
    whole = path.read_bytes()
    content = {
        "zero": b"",
        "half": whole[: len(whole) // 2],
        "text": b"no image at all",
        "header": whole[:20],
    }
    path.write_bytes(content[kind])
    return path


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("zero", "zero bytes"),
        ("half", "truncated or damaged"),
        ("text", "not an image"),
        ("header", "(not an image|truncated)"),
    ],
)
def test_broken_file_is_rejected_with_its_reason(tmp_path, kind, reason, suffix):
    path = damaged(kind, tmp_path / f"x.{suffix}")
    with pytest.raises(Rejected, match=reason):
        read_image(path)


def test_constant_image_is_rejected(tmp_path):
    Image.new("L", (9, 9), 77).save(tmp_path / "x.png")
    with pytest.raises(Rejected, match="constant"):
        read_image(tmp_path / "x.png")


def test_missing_file_is_rejected(tmp_path):
    with pytest.raises(Rejected, match="missing file"):
        read_image(tmp_path / "x.png")


def test_other_formats_are_not_opened(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "x.png", format="TIFF")
    with pytest.raises(Rejected, match="not an image"):
        read_image(tmp_path / "x.png")


def test_decompression_bomb_is_rejected_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 99)
    Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10)).save(tmp_path / "x.png")
    with pytest.raises(Rejected, match="more than 99 pixels"):
        read_image(tmp_path / "x.png")


@pytest.mark.parametrize("shape", [(100, 200), (512, 128), (256, 256), (1024, 1000)])
def test_box_and_mask_follow_their_image(shape):
    height, width = shape
    mask = np.zeros(shape, bool)
    mask[height // 4 : height // 2, width // 8 : width // 2] = True
    drawn = square_image(mask.astype(np.uint8)) > 127
    box = (width // 8, height // 4, width // 2 - width // 8, height // 2 - height // 4)
    x, y, wide, high = square_box(box, *shape)
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    found = (columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0])
    assert np.abs(np.subtract((x, y, wide, high), found)).max() <= 0.51
    assert np.array_equal(square_mask(mask), drawn)


def test_mask_of_one_pixel_is_not_lost_and_an_empty_one_stays_empty():
    mask = np.zeros((1024, 1024), bool)
    assert not square_mask(mask).any()
    mask[301, 702] = True
    rows, columns = np.nonzero(square_mask(mask))
    assert set(rows) == {301 // 4} and set(columns) == {702 // 4}
