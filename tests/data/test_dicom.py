import builtins
import io
import math

import numpy as np
import pydicom
import pytest
from PIL import Image, features
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from mflag.data import dicom
from mflag.data.dicom import parse_age, read_dicom
from mflag.data.images import read_grey, read_image, square_image
from mflag.data.rejected import Rejected
from mflag.errors import InputError
from tests.data.dicom_files import (
    make_dicom,
    save_dicom,
    write_dicom,
    write_encapsulated,
    write_jpeg_dicom,
)

RAMP8 = np.arange(20, 220, dtype=np.uint8).reshape(10, 20)
RAMP12 = (np.arange(200, dtype=np.uint16) * 20).reshape(10, 20)  # 0 to 3980


def spread(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return np.rint((values - low) * 255.0 / (high - low)).astype(np.uint8)


def shown(path) -> np.ndarray:
    return spread(read_dicom(path)[0].astype(float))


def test_eight_bit_monochrome2_is_read_as_it_stands(tmp_path):
    grey, _ = read_dicom(write_dicom(tmp_path / "x.dcm", RAMP8))
    assert grey.dtype == np.uint8
    assert np.array_equal(grey, RAMP8 - 20)


@pytest.mark.parametrize("pixels", [RAMP8, RAMP12], ids=["8 bit", "12 bit"])
def test_monochrome1_is_inverted(tmp_path, pixels):
    bits = 8 if pixels.dtype == np.uint8 else 12
    header = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": bits}
    assert np.array_equal(
        shown(write_dicom(tmp_path / "x.dcm", pixels, **header)), spread(-pixels.astype(float))
    )


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_images_keep_their_whole_range_without_a_window(tmp_path, bits):
    pixels = np.linspace(0, 2**bits - 1, 200).astype(np.uint16).reshape(10, 20)
    grey, _ = read_dicom(write_dicom(tmp_path / "x.dcm", pixels, BitsStored=bits))
    assert np.array_equal(grey, pixels)


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_signed_pixels_keep_their_order(tmp_path, dtype):
    pixels = np.linspace(np.iinfo(dtype).min, np.iinfo(dtype).max, 200).astype(dtype)
    path = write_dicom(tmp_path / "x.dcm", pixels.reshape(10, 20))
    assert np.array_equal(shown(path), spread(pixels.reshape(10, 20).astype(float)))


def test_signed_twelve_bits_in_sixteen_are_sign_extended_and_overlay_bits_dropped(tmp_path):
    values = np.arange(-100, 100, dtype=np.int16).reshape(10, 20)
    stored = (values.astype(np.uint16) & 0x0FFF) | 0x1000  # an overlay in bit 12
    path = write_dicom(tmp_path / "x.dcm", stored.astype(np.int16), BitsStored=12)
    assert np.array_equal(read_dicom(path)[0], values + 100)


def test_negative_rescale_slope_inverts_and_a_positive_one_changes_nothing(tmp_path):
    for slope in (2.5, -1.0):
        header = {"RescaleSlope": slope, "RescaleIntercept": -1024, "BitsStored": 12}
        path = write_dicom(tmp_path / "x.dcm", RAMP12, **header)
        assert np.array_equal(shown(path), spread(RAMP12 * slope))


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (0.5, -100), (2, 50)])
def test_window_of_a_deep_image_is_applied_to_rescaled_values(tmp_path, slope, intercept):
    header = {
        "BitsStored": 12,
        "RescaleSlope": slope,
        "RescaleIntercept": intercept,
        "WindowCenter": [1000.5, 9],
        "WindowWidth": [1001, 1],
    }
    expected = np.clip((RAMP12 * float(slope) + intercept - 1000) / 1000 + 0.5, 0, 1)
    path = write_dicom(tmp_path / "x.dcm", RAMP12, **header)
    assert np.abs(shown(path).astype(int) - spread(expected)).max() <= 1


def test_window_and_monochrome1_together(tmp_path):
    header = {"BitsStored": 12, "WindowCenter": 1000.5, "WindowWidth": 1001}
    plain = shown(write_dicom(tmp_path / "a.dcm", RAMP12, **header))
    path = write_dicom(
        tmp_path / "b.dcm", RAMP12, **header, PhotometricInterpretation="MONOCHROME1"
    )
    inverted = shown(path)
    assert np.abs(inverted.astype(int) - (255 - plain.astype(int))).max() <= 1


def test_window_of_an_eight_bit_image_is_left_alone(tmp_path):
    path = write_dicom(tmp_path / "x.dcm", RAMP8, WindowCenter=100, WindowWidth=10)
    assert np.array_equal(shown(path), spread(RAMP8.astype(float)))


def lut(descriptor: list[int], values: list[int]) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", descriptor)
    item.LUTData = values
    item["LUTData"].VR = "US"
    return Sequence([item])


def test_lookup_table_of_a_deep_image_is_applied(tmp_path):
    pixels = np.arange(8, dtype=np.uint16).repeat(8).reshape(8, 8)
    values = [0, 1, 2, 3, 1000, 2000, 3000, 4000]
    dataset = make_dicom(pixels, BitsStored=12, VOILUTSequence=lut([8, 0, 16], values))
    path = save_dicom(tmp_path / "x.dcm", dataset)
    assert np.array_equal(shown(path), spread(np.array(values, float)[pixels]))


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("padding", [0, 3999])
def test_padding_is_black_and_does_not_take_part_in_the_spread(tmp_path, padding, kind):
    pixels = 1000 + RAMP12 // 20  # 1000 to 1199
    pixels[:, :3] = padding
    header = {"BitsStored": 12, "PixelPaddingValue": padding, "PhotometricInterpretation": kind}
    grey, _ = read_dicom(write_dicom(tmp_path / "x.dcm", pixels, **header))
    inside = pixels[:, 3:].astype(int)
    expected = inside - inside.min() if kind == "MONOCHROME2" else inside.max() - inside
    assert not grey[:, :3].any()
    assert np.array_equal(grey[:, 3:], expected)


def test_padding_range_covers_all_between_its_limits(tmp_path):
    pixels = RAMP12.copy()
    header = {"BitsStored": 12, "PixelPaddingValue": 0, "PixelPaddingRangeLimit": 1000}
    grey, _ = read_dicom(write_dicom(tmp_path / "x.dcm", pixels, **header))
    assert np.array_equal(grey > 0, pixels > 1020)


def test_baseline_jpeg_and_run_length_syntaxes_need_nothing_installed(tmp_path):
    smooth = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))
    grey, _ = read_dicom(write_jpeg_dicom(tmp_path / "j.dcm", smooth))
    assert np.abs(grey.astype(int) - smooth).max() <= 4
    dataset = make_dicom(RAMP12, BitsStored=12)
    dataset.compress(RLELossless)
    assert np.array_equal(read_dicom(save_dicom(tmp_path / "r.dcm", dataset))[0], RAMP12)


@pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow has no JPEG 2000")
def test_lossless_jpeg_2000_keeps_every_bit(tmp_path):
    stream = io.BytesIO()
    pixels = np.tile(RAMP12, (4, 3))
    Image.fromarray(pixels).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
    syntax = "1.2.840.10008.1.2.4.90"
    path = write_encapsulated(tmp_path / "x.dcm", pixels, stream.getvalue(), syntax)
    assert np.array_equal(read_dicom(path)[0], pixels)


def test_colour_becomes_luminance(tmp_path):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[1:3, 2:4] = (100, 150, 200)
    header = {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "PlanarConfiguration": 0}
    grey, _ = read_dicom(write_dicom(tmp_path / "x.dcm", pixels, **header))
    assert grey[1, 2] == round(0.299 * 100 + 0.587 * 150 + 0.114 * 200)
    assert grey[0, 0] == 0


def test_rows_and_columns_are_not_exchanged(tmp_path):
    pixels = np.zeros((40, 80), np.uint8)
    pixels[:10, :10] = 200
    square = read_image(write_dicom(tmp_path / "x.dcm", pixels))
    assert square[66:94, 2:30].min() == 255  # a landscape image, its corner at the upper left
    assert not square[100:].any() and not square[:, 40:].any()


def test_dicom_is_known_by_its_content_whatever_its_name(tmp_path):
    path = write_dicom(tmp_path / "image.png", RAMP8)
    assert np.array_equal(read_image(path), square_image(RAMP8 - 20))
    Image.fromarray(RAMP8).save(tmp_path / "x.dcm", format="PNG")
    assert np.array_equal(read_grey(tmp_path / "x.dcm"), RAMP8)


def test_header_facts_are_read(tmp_path):
    header = {"PatientID": "p 1", "ViewPosition": "PA", "PatientSex": "F", "PatientAge": "062Y"}
    _, facts = read_dicom(write_dicom(tmp_path / "x.dcm", RAMP8, **header))
    assert (facts.patient, facts.view, facts.sex, facts.age) == ("p 1", "PA", "F", 62.0)


def test_absent_header_facts_stay_empty(tmp_path):
    _, facts = read_dicom(write_dicom(tmp_path / "x.dcm", RAMP8, PatientSex="O"))
    assert (facts.patient, facts.view, facts.sex) == ("", "", "")
    assert math.isnan(facts.age)


@pytest.mark.parametrize(
    ("text", "years"),
    [("62", 62), ("062Y", 62), ("018M", 1.5), ("000Y", 0), ("", math.nan), ("adult", math.nan)],
)
def test_age_is_in_years(text, years):
    assert parse_age(text) == pytest.approx(years, nan_ok=True)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"NumberOfFrames": 2, "PixelData": RAMP8.tobytes() * 2}, "2 frames"),
        ({"PixelData": None}, "no pixels"),
        ({"Rows": 0}, "no pixels"),
        ({"PixelData": RAMP8.tobytes()[:100]}, "truncated or damaged"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "32 bits a pixel"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "'PALETTE COLOR' with 1 samples"),
        ({"PhotometricInterpretation": "RGB"}, "'RGB' with 1 samples"),
        ({"Rows": 60_000, "Columns": 60_000}, "more than 80000000 pixels"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "one grey"),
        ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 255}, "all of it is padding"),
    ],
)
def test_unusable_dicom_is_rejected_with_its_reason(tmp_path, header, reason):
    dataset = make_dicom(RAMP8, **{key: v for key, v in header.items() if v is not None})
    for key in [key for key, value in header.items() if value is None]:
        delattr(dataset, key)
    path = save_dicom(tmp_path / "x.dcm", dataset)
    with pytest.raises(Rejected, match=reason):
        read_image(path)


@pytest.mark.parametrize(("width", "reason"), [(0, "cannot be applied"), (2, "one grey")])
def test_window_that_shows_nothing_is_rejected(tmp_path, width, reason):
    header = {"BitsStored": 12, "WindowCenter": 20_000, "WindowWidth": width}
    with pytest.raises(Rejected, match=reason):
        read_dicom(write_dicom(tmp_path / "x.dcm", RAMP12, **header))


@pytest.mark.parametrize(
    ("syntax", "name", "plugin"),
    [
        ("1.2.840.10008.1.2.4.57", "JPEG Lossless", "pylibjpeg-libjpeg"),
        ("1.2.840.10008.1.2.4.70", "JPEG Lossless", "pylibjpeg-libjpeg"),
        ("1.2.840.10008.1.2.4.80", "JPEG-LS", "pylibjpeg-libjpeg"),
        ("1.2.840.10008.1.2.4.90", "JPEG 2000", "pylibjpeg-openjpeg"),
        ("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000", "pylibjpeg-openjpeg"),
    ],
)
def test_missing_decoder_is_named_with_its_syntax(tmp_path, monkeypatch, syntax, name, plugin):
    monkeypatch.setattr(pydicom.pixels.get_decoder(syntax), "_available", {})
    path = write_encapsulated(tmp_path / "x.dcm", RAMP8, b"stream", syntax)
    with pytest.raises(Rejected, match=f"{name}.*needs a decoder.*pip install .*{plugin}"):
        read_dicom(path)


def test_twelve_bit_jpeg_is_not_left_to_pillow(tmp_path, monkeypatch):
    syntax = "1.2.840.10008.1.2.4.51"
    decoder = pydicom.pixels.get_decoder(syntax)
    monkeypatch.setattr(decoder, "_available", {"pillow": decoder._available["pillow"]})
    path = write_encapsulated(tmp_path / "x.dcm", RAMP12, b"stream", syntax, BitsStored=12)
    with pytest.raises(Rejected, match="JPEG Extended.*pip install .*pylibjpeg-libjpeg"):
        read_dicom(path)


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        ("1.2.840.10008.1.2.4.100", "MPEG2"),
        ("1.2.840.10008.1.2.1.99", "Deflated"),
        ("1.2.3.4", "1.2.3.4"),
    ],
)
def test_syntax_that_is_never_read_is_named(tmp_path, syntax, name):
    path = write_encapsulated(tmp_path / "x.dcm", RAMP8, b"stream", syntax)
    with pytest.raises(Rejected, match=f"{name}.*not read"):
        read_dicom(path)


def cut(content: bytes, fraction: float) -> bytes:
    return content[: int(len(content) * fraction)]


@pytest.mark.parametrize("writer", [write_dicom, write_jpeg_dicom], ids=["native", "jpeg"])
@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.9])
def test_truncated_dicom_is_rejected(tmp_path, writer, fraction):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    path = writer(tmp_path / "x.dcm", noise)
    path.write_bytes(cut(path.read_bytes(), fraction))
    with pytest.raises(Rejected, match="truncated|no pixels"):
        read_image(path)


def test_damaged_bytes_are_rejected_with_a_reason_or_read_but_never_crash(tmp_path):
    random = np.random.default_rng(0)
    whole = write_jpeg_dicom(tmp_path / "x.dcm", np.tile(RAMP8, (3, 2))).read_bytes()
    shapes: list[tuple[int, ...]] = []
    reasons: list[str] = []
    for _ in range(150):
        broken = bytearray(whole)
        for place in random.integers(132, len(whole), 6):
            broken[place] = random.integers(256)
        (tmp_path / "x.dcm").write_bytes(broken)
        try:
            shapes.append(read_image(tmp_path / "x.dcm").shape)
        except Rejected as reason:
            reasons.append(str(reason))
    assert set(shapes) == {(256, 256)}
    assert len(reasons) == 150 - len(shapes) and len(set(reasons)) > 1 and all(reasons)


@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 128 + b"DICM"])
def test_what_is_no_dicom_is_rejected(tmp_path, content):
    (tmp_path / "x.dcm").write_bytes(content)
    with pytest.raises(Rejected):
        read_image(tmp_path / "x.dcm")
    with pytest.raises(Rejected):
        read_dicom(tmp_path / "x.dcm")


def test_missing_dicom_is_rejected(tmp_path):
    with pytest.raises(Rejected, match="missing file"):
        read_dicom(tmp_path / "x.dcm")


def test_bomb_is_refused_before_its_stream_is_decoded(tmp_path, monkeypatch):
    stream = io.BytesIO()
    Image.new("L", (400, 300)).save(stream, "JPEG")
    path = write_encapsulated(
        tmp_path / "x.dcm", np.zeros((300, 400), np.uint8), stream.getvalue(),
        "1.2.840.10008.1.2.4.50",
    )  # fmt: skip
    monkeypatch.setattr(dicom, "MAX_PIXELS", 119_999)
    monkeypatch.setattr(pydicom.pixels, "pixel_array", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(Rejected, match="more than 119999 pixels"):
        read_dicom(path)


def test_without_pydicom_the_extra_is_named(tmp_path, monkeypatch):
    path = write_dicom(tmp_path / "x.dcm", RAMP8)
    real_import = builtins.__import__

    def no_pydicom(name, *args, **kwargs):
        if name.partition(".")[0] == "pydicom":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_pydicom)
    with pytest.raises(InputError, match=r'pip install "mflag\[medical\]"'):
        read_image(path)
