"""Grey images as the bytes of PNG and JPEG files."""

from io import BytesIO

import numpy as np
from PIL import Image

JPEG_QUALITY = 92


def enlarge(image: np.ndarray, side: int) -> np.ndarray:
    """Scale a (256, 256) uint8 image to (side, side), smoothly."""
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def crop_sides(image: np.ndarray, columns: int) -> np.ndarray:
    """Take columns off both sides: prepare puts black ones there again, so nothing moves."""
    return image[:, columns : image.shape[1] - columns] if columns else image


def png_bytes(image: np.ndarray) -> bytes:
    """Encode (H, W) uint8 or uint16, or (H, W, 4) uint8, as PNG."""
    return _encoded(image, "PNG", compress_level=4)


def jpeg_bytes(image: np.ndarray) -> bytes:
    """Encode (H, W) uint8 as JPEG."""
    return _encoded(image, "JPEG", quality=JPEG_QUALITY)


def _encoded(image: np.ndarray, kind: str, **options: int) -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()
