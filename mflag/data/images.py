"""One X-ray file to one square grey image."""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from mflag.data.dicom import is_dicom, read_dicom
from mflag.data.manifest import IMAGE_SIZE
from mflag.data.rejected import IMAGE_READABLE, MAX_PIXELS, LeftOut, Rejected
from mflag.errors import InputError

__all__ = [
    "IMAGE_READABLE", "LeftOut", "Rejected",
    "read_grey", "read_image", "square_box", "square_geometry", "square_image", "square_mask",
]  # fmt: skip
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


def read_image(path: Path | str, size: int = IMAGE_SIZE) -> np.ndarray:
    """Read a PNG, JPEG or DICOM file by the rule of ``square_image``.

    Args:
        path: 8 or 16 bit, grey or colour; colour becomes luminance, alpha is dropped.
            DICOM is known by its content, whatever the name; see ``read_dicom``.
        size: height and width of the result, pixels.

    Returns:
        (size, size) uint8.

    Raises:
        Rejected: missing, empty, truncated, constant, too large, or not an image.
        InputError: a DICOM file, and pydicom is not installed.
    """
    return square_image(read_grey(path), size)


def square_image(grey: np.ndarray, size: int = IMAGE_SIZE) -> np.ndarray:
    """Spread an image over 0 to 255, scale its longer side to ``size``, centre it on black.

    Args:
        grey: (H, W) unsigned integers.
        size: height and width of the result, pixels.

    Returns:
        (size, size) uint8.

    Raises:
        Rejected: all pixels are equal.
    """
    low, high = int(grey.min()), int(grey.max())
    if low == high:
        raise Rejected("constant image")
    values = np.arange(low, high + 1)
    spread = np.rint((values - low) * 255 / (high - low)).astype(np.uint8)
    stretched = Image.fromarray(spread[grey - grey.dtype.type(low)])
    return _place(stretched, grey.shape, size)


def square_mask(mask: np.ndarray) -> np.ndarray:
    """Bring a mask to the place that ``square_image`` gives its image of 256 x 256.

    Args:
        mask: (H, W) bool.

    Returns:
        (256, 256) bool: pixels of which half is covered. A mask too small for that keeps the
        pixels that it covers most, so no lesion is lost.
    """
    cover = _place(Image.fromarray(mask.astype(np.uint8) * 255), mask.shape, IMAGE_SIZE)
    return cover >= min(128, max(int(cover.max()), 1))


def square_box(box: Sequence[float], height: int, width: int) -> list[float]:
    """Bring a box to the place that ``square_image`` gives its image of 256 x 256.

    Args:
        box: x, y, width, height in pixels of the (height, width) image.
        height: of that image.
        width: of that image.

    Returns:
        The same four in pixels of the 256 x 256 image, not rounded.
    """
    top, left, high, wide = square_geometry(height, width)
    x, y, box_width, box_height = box
    across, down = wide / width, high / height
    return [left + x * across, top + y * down, box_width * across, box_height * down]


def square_geometry(height: int, width: int, size: int = IMAGE_SIZE) -> tuple[int, int, int, int]:
    """Where a (height, width) image comes to lie: top, left, height, width within size x size."""
    scale = size / max(height, width)
    high, wide = (max(1, round(side * scale)) for side in (height, width))
    return (size - high) // 2, (size - wide) // 2, high, wide


def _place(image: Image.Image, shape: tuple[int, int], size: int) -> np.ndarray:
    top, left, height, width = square_geometry(*shape, size)
    # Pillow widens the filter when it shrinks: that is the antialias.
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    square = np.zeros((size, size), np.uint8)
    square[top : top + height, left : left + width] = np.asarray(resized)
    return square


def read_grey(path: Path | str) -> np.ndarray:
    """Decode a PNG, JPEG or DICOM file at its full depth.

    Returns:
        (H, W) uint8 or uint16.

    Raises:
        Rejected: missing, empty, truncated, too large, or not an image.
        InputError: a DICOM file, and pydicom is not installed.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise Rejected("zero bytes")
        if is_dicom(path):
            return read_dicom(path)[0]
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            return _decode(image)
    except FileNotFoundError as error:
        raise Rejected("missing file") from error
    except PermissionError as error:
        raise Rejected("no permission to read") from error
    except UnidentifiedImageError as error:
        raise Rejected("not an image (PNG, JPEG or DICOM)") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Rejected(f"more than {MAX_PIXELS} pixels") from error
    except InputError:
        raise
    except _BROKEN as error:
        raise Rejected("truncated or damaged") from error


def _decode(image: ImageFile) -> np.ndarray:
    if image.width * image.height > MAX_PIXELS:
        raise Rejected(f"more than {MAX_PIXELS} pixels")
    raw = image.tile[0].args if image.format == "PNG" else None
    if raw in ("LA;16B", "RGB;16B", "RGBA;16B"):
        return _colour16(image, raw)
    if image.mode == "I;16":
        return np.array(image, np.uint16)
    colours = image.convert("RGB") if image.mode in ("P", "PA") else image
    return np.array(colours.convert("L"))


def _colour16(image: ImageFile, raw: str) -> np.ndarray:
    """Decode a 16-bit PNG with colour or alpha, which Pillow alone would cut to 8 bits.

    A second pass takes the lower bytes: "16L" reads what "16B" skips.
    """
    if raw == "LA;16B":  # opened as RGBA; 4 bytes a pixel: L high, L low, alpha high, alpha low
        image.tile = [image.tile[0]._replace(args="RGBA")]
        pair = np.array(image).astype(np.uint16)
        return pair[..., 0] << 8 | pair[..., 1]
    path = image.filename
    high = np.array(image, np.uint16)
    with Image.open(path, formats=("PNG",)) as again:
        again.tile = [again.tile[0]._replace(args=raw.replace(";16B", ";16L"))]
        low = np.array(again, np.uint16)
    red, green, blue = np.moveaxis((high << 8 | low)[..., :3].astype(np.uint32), -1, 0)
    luminance = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16  # as Pillow's "L"
    return luminance.astype(np.uint16)
