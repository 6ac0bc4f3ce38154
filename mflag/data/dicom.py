"""One DICOM file to grey values as a viewer shows them, and what its header says.

8-bit files (RSNA, SIIM) are read as MGCA and GLoRIA read them: no window, MONOCHROME1 inverted.
They were windowed when they were made; a second window would only cut what the published results
have seen. Files of 10 to 16 bits hold the detector's whole range, of which lungs fill a small part
between collimator and burnt-in letters: where such a header names a window or a VOI LUT, its first
one is applied, as every viewer does.
"""

import math
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mflag.data.rejected import MAX_PIXELS, Rejected
from mflag.errors import InputError

SUFFIXES = (".dcm", ".dicom")
_MARK, _MARK_AT = b"DICM", 128
_DEFLATED = "1.2.840.10008.1.2.1.99"
_JPEG_12_BIT = "1.2.840.10008.1.2.4.51"
_LIBJPEG = "pylibjpeg pylibjpeg-libjpeg (or python-gdcm)"
_OPENJPEG = "pylibjpeg pylibjpeg-openjpeg"
# What to install by transfer syntax: Pillow, which is always there, decodes baseline and, in most
# builds, JPEG 2000; pydicom itself decodes RLE.
_PLUGINS = {
    "1.2.840.10008.1.2.4.50": "pillow",
    _JPEG_12_BIT: _LIBJPEG,
    "1.2.840.10008.1.2.4.57": _LIBJPEG,  # lossless JPEG, any predictor
    "1.2.840.10008.1.2.4.70": _LIBJPEG,  # lossless JPEG, first predictor: the usual one
    "1.2.840.10008.1.2.4.80": _LIBJPEG,  # JPEG-LS
    "1.2.840.10008.1.2.4.81": _LIBJPEG,
    "1.2.840.10008.1.2.4.90": f"{_OPENJPEG} (or python-gdcm)",  # JPEG 2000
    "1.2.840.10008.1.2.4.91": f"{_OPENJPEG} (or python-gdcm)",
    "1.2.840.10008.1.2.4.201": _OPENJPEG,  # high-throughput JPEG 2000
    "1.2.840.10008.1.2.4.202": _OPENJPEG,
    "1.2.840.10008.1.2.4.203": _OPENJPEG,
}
_FACTS = ("PatientID", "ViewPosition", "PatientSex", "PatientAge")
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


@dataclass(frozen=True)
class DicomHeader:
    """What a header says of the study; empty or NaN where it says nothing.

    Attributes:
        patient: PatientID.
        view: ViewPosition in capitals: ``PA``, ``AP``, ``LL``, ...
        sex: ``M``, ``F`` or empty.
        age: years.
    """

    patient: str = ""
    view: str = ""
    sex: str = ""
    age: float = math.nan


def require_pydicom() -> Any:
    """Import pydicom.

    Raises:
        InputError: it is not installed.
    """
    try:
        import pydicom
        import pydicom.pixels
    except ImportError as error:
        raise InputError(
            'reading DICOM needs pydicom, which is not installed; pip install "mflag[medical]"'
        ) from error
    # It warns of every odd value of a header; what matters of one is checked below.
    warnings.filterwarnings("ignore", module="pydicom")
    return pydicom


def is_dicom(path: Path) -> bool:
    """Whether the file carries the DICOM mark, whatever its name.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        file.seek(_MARK_AT)
        return file.read(len(_MARK)) == _MARK


def read_dicom(path: Path | str) -> tuple[np.ndarray, DicomHeader]:
    """Decode a DICOM file: rescale, window, and MONOCHROME1 inverted, so that bone is bright.

    Args:
        path: one frame, 8 to 16 bits, signed or not, grey or colour (colour becomes luminance).

    Returns:
        (H, W) uint8 or uint16, and the header's facts. Padding is 0.

    Raises:
        Rejected: missing, truncated, without pixels, of several frames, too large, of a transfer
            syntax that no installed plug-in decodes, or no DICOM file.
        InputError: pydicom is not installed.
    """
    pydicom = require_pydicom()
    try:
        return _decode(pydicom, Path(path))
    except Rejected:
        raise
    except FileNotFoundError as error:
        raise Rejected("missing file") from error
    except PermissionError as error:
        raise Rejected("no permission to read") from error
    except Exception as error:  # damaged headers and streams raise nearly everything
        raise Rejected(f"truncated or damaged ({_first_line(error)})") from error


def read_header(path: Path | str) -> DicomHeader:
    """Read what a header says, and no pixels; all is empty when it cannot be read.

    Raises:
        InputError: pydicom is not installed.
    """
    pydicom = require_pydicom()
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_FACTS))
        return _header_facts(dataset)
    except Exception:  # such a file is refused, with its reason, when its pixels are read
        return DicomHeader()


def _decode(pydicom: Any, path: Path) -> tuple[np.ndarray, DicomHeader]:
    if os.path.getsize(path) == 0:
        raise Rejected("zero bytes")
    if not is_dicom(path):
        raise Rejected("not a DICOM file (no DICM mark)")
    syntax = pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID")
    if syntax == _DEFLATED:  # pydicom would inflate it, however large, before any check
        raise Rejected(f"transfer syntax {syntax.name!r} is not read; convert it")
    dataset = pydicom.dcmread(path)
    _check_header(dataset)
    _check_decoder(pydicom, dataset)
    pixels = pydicom.pixels.pixel_array(dataset)
    if pixels.ndim == 3:
        return _luminance(pixels), _header_facts(dataset)
    return _as_shown(pydicom, pixels, dataset), _header_facts(dataset)


def _check_header(dataset: Any) -> None:
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise Rejected("pixels are floats; DICOM of X-rays holds integers")
    rows, columns, bits = (_number(dataset, key, 0) for key in ("Rows", "Columns", "BitsAllocated"))
    if "PixelData" not in dataset or not rows or not columns:  # pydicom drops what is cut short
        raise Rejected("no pixels in the DICOM file, or it is cut short")
    frames = _number(dataset, "NumberOfFrames", 1)
    if frames > 1:
        raise Rejected(f"{frames} frames; an X-ray has one")
    if rows * columns > MAX_PIXELS:
        raise Rejected(f"more than {MAX_PIXELS} pixels")
    if bits not in (8, 16):
        raise Rejected(f"{bits} bits a pixel; 8 and 16 are read")
    kind = str(dataset.get("PhotometricInterpretation", ""))
    samples = _number(dataset, "SamplesPerPixel", 1)
    is_grey = kind in ("MONOCHROME1", "MONOCHROME2") and samples == 1
    is_colour = (kind == "RGB" or kind.startswith("YBR_")) and samples == 3 and bits == 8
    if not is_grey and not is_colour:
        raise Rejected(
            f"photometric interpretation {kind!r} with {samples} samples of {bits} bits is not read"
        )


def _number(dataset: Any, key: str, absent: int) -> int:
    try:
        value = dataset.get(key)
        return absent if value is None or value == "" else int(value)
    except (ValueError, TypeError) as error:
        raise Rejected(f"{key} of the header is no number") from error


def _check_decoder(pydicom: Any, dataset: Any) -> None:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise Rejected("no transfer syntax in the header")
    try:
        decoder = pydicom.pixels.get_decoder(syntax)
    except NotImplementedError as error:  # pydicom's, of a syntax that it knows no decoder for
        raise Rejected(
            f"transfer syntax {syntax.name!r} ({syntax}) is not read; convert the file, for one "
            "to Explicit VR Little Endian"
        ) from error
    # Pillow's JPEG has 8 bits, though pydicom counts it as a plug-in for 12.
    lacks_bits = syntax == _JPEG_12_BIT and _number(dataset, "BitsStored", 8) > 8
    if decoder.is_available and not (lacks_bits and decoder.available_plugins == ("pillow",)):
        return
    raise Rejected(
        f"transfer syntax {syntax.name!r} ({syntax}) needs a decoder that is not installed; "
        f"pip install {_PLUGINS.get(str(syntax), 'python-gdcm')}"
    )


def _luminance(pixels: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(pixels.astype(np.uint32), -1, 0)
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)


def _as_shown(pydicom: Any, pixels: np.ndarray, dataset: Any) -> np.ndarray:
    """Stored values to those that a viewer shows, by a table of all values that can come."""
    pixels = pixels.astype(np.int32)
    padding = _padding(pixels, dataset)
    inside = pixels if padding is None else pixels[~padding]
    if inside.size == 0:
        raise Rejected("constant image: all of it is padding")
    low, high = int(inside.min()), int(inside.max())
    values = np.arange(low, high + 1)
    try:
        shown = _window(pydicom, values, dataset)
    except Exception as error:  # tables of odd length, windows of no width
        raise Rejected(f"rescale, window or LUT cannot be applied ({error})") from error
    if low < high and shown.min() == shown.max():
        raise Rejected("the header's rescale or window shows the whole image as one grey")
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = -shown
    shown = shown - shown.min()
    if shown.dtype.kind == "f":
        shown = np.rint(shown * (65535 / max(shown.max(), 1e-300)))
    table = shown.astype(np.uint8 if shown.max() <= 255 else np.uint16)
    grey = table[np.clip(pixels, low, high) - low]
    if padding is not None:
        grey[padding] = 0
    return grey


def _padding(pixels: np.ndarray, dataset: Any) -> np.ndarray | None:
    """(H, W) bool, where the header says that there is no image; None without such pixels."""
    if dataset.get("PixelPaddingValue") is None:
        return None
    one = _number(dataset, "PixelPaddingValue", 0)
    other = _number(dataset, "PixelPaddingRangeLimit", one)
    padding = (pixels >= min(one, other)) & (pixels <= max(one, other))
    return padding if padding.any() else None


def _window(pydicom: Any, values: np.ndarray, dataset: Any) -> np.ndarray:
    """Modality transform, then for more than 8 bits the first window; integers while they can be.

    A positive slope changes nothing that spreading over 0 to 255 leaves, so only a window needs it.
    """
    is_windowed = _number(dataset, "BitsStored", 8) > 8 and (
        bool(dataset.get("VOILUTSequence")) or dataset.get("WindowCenter") not in (None, "")
    )
    if not is_windowed and not dataset.get("ModalityLUTSequence"):
        slope = dataset.get("RescaleSlope")
        return values * (1 if slope is None else int(np.sign(float(slope))))
    shown = pydicom.pixels.apply_modality_lut(values, dataset)
    whole = np.rint(shown)
    if np.array_equal(whole, shown):  # a table of grey values wants integers
        shown = whole.astype(np.int32)
    if is_windowed:
        shown = pydicom.pixels.apply_voi_lut(shown, dataset)
    return shown.astype(np.float64)


def _header_facts(dataset: Any) -> DicomHeader:
    text = {key: str(dataset.get(key) or "").strip() for key in _FACTS}
    sex = text["PatientSex"].upper()
    return DicomHeader(
        patient=text["PatientID"],
        view=text["ViewPosition"].upper(),
        sex=sex if sex in ("M", "F") else "",
        age=parse_age(text["PatientAge"]),
    )


def parse_age(text: str) -> float:
    """Years from ``062Y``, ``18M``, ``3W``, ``10D`` or a bare number; NaN for anything else."""
    found = re.fullmatch(r"(\d{1,3})([YMWD]?)", text.strip().upper())
    return float(found[1]) * _YEARS[found[2] or "Y"] if found else math.nan


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
