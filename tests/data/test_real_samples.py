"""Real X-rays of four publishers come out upright, unmirrored, bright where bone is."""

import os
from pathlib import Path

import numpy as np
import pytest

from mflag.data.dicom import read_dicom
from mflag.data.images import read_grey, read_image

ROOT = Path(__file__).parents[2]
SAMPLES = Path(os.environ.get("MFLAG_REAL_DATA", ROOT.parent / "shared" / "data")) / "samples"
pytestmark = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason=f"{SAMPLES} is absent (MFLAG_REAL_DATA)"
)
SIIM = "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm"
SHAPES = {
    "00000001_000.png": (512, 512),
    "00027426_000.png": (512, 512),
    SIIM: (1024, 1024),
    "16747_3_1.jpg": (885, 1036),
}


def mean(image: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]) -> float:
    return float(image[slice(*rows), slice(*columns)].mean())


@pytest.mark.parametrize("name", SHAPES)
def test_sample_is_decoded_at_its_size_and_depth(name):
    grey = read_grey(SAMPLES / name)
    assert (grey.shape, grey.dtype) == (SHAPES[name], np.uint8)
    assert grey.max() - grey.min() > 230


@pytest.mark.parametrize("name", SHAPES)
def test_lungs_are_dark_mediastinum_and_abdomen_bright(name):
    image = read_image(SAMPLES / name)
    lungs = [mean(image, (80, 130), columns) for columns in ((60, 90), (165, 195))]
    mediastinum = mean(image, (80, 130), (120, 136))
    assert max(lungs) < mediastinum - 40
    assert max(lungs) < mean(image, (195, 225), (60, 100)) - 40  # below the right diaphragm


@pytest.mark.parametrize("name", SHAPES)
def test_heart_lies_on_the_right_of_the_picture(name):
    image = read_image(SAMPLES / name).astype(float)
    right, left = image[140:165, 70:110].mean(), image[140:165, 146:186].mean()
    assert left > right  # the patient's left, where the heart is, is on the viewer's right


def test_wide_sample_is_centred_between_black_bars():
    image = read_image(SAMPLES / "16747_3_1.jpg")
    high = round(885 * 256 / 1036)
    top = (256 - high) // 2
    assert not image[:top].any() and not image[top + high :].any()
    assert image[top + 20 : top + high - 20].mean() > 100


def test_siim_header_says_view_sex_and_age():
    _, header = read_dicom(SAMPLES / SIIM)
    assert (header.view, header.sex, header.age) == ("PA", "M", 62.0)
    assert header.patient != ""


def test_siim_dicom_reads_as_pillow_reads_its_jpeg_stream():
    import io

    from PIL import Image

    content = (SAMPLES / SIIM).read_bytes()
    stream = Image.open(io.BytesIO(content[content.index(b"\xff\xd8\xff") :]))
    expected = np.asarray(stream).astype(int)
    assert np.array_equal(read_grey(SAMPLES / SIIM), expected - expected.min())
