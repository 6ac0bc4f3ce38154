"""What the header of a PNG or JPEG file says, before anything is decoded."""

import io
from dataclasses import dataclass

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from mflag.data.rejected import MAX_PIXELS, Rejected

_YCBCR = 1  # of Adobe's APP14 segment: three channels that are what JFIF has
_RGB_IDS = (82, 71, 66)  # components that call themselves R, G and B, and are


@dataclass(frozen=True)
class EncodedImage:
    """The header of a file.

    Attributes:
        height: pixels.
        width: pixels.
        special: why a decoder other than Pillow would give other pixels; "" where it would not.
    """

    height: int
    width: int
    special: str


def read_header(content: bytes) -> EncodedImage:
    """Read the header of a file.

    Args:
        content: the whole file.

    Raises:
        Rejected: neither PNG nor JPEG, or too large.
    """
    if content[128:132] == b"DICM":
        raise Rejected("a DICOM file; only PNG and JPEG are read here")
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            width, height = image.size
            special = _special(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Rejected(f"more than {MAX_PIXELS} pixels") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise Rejected("not an image (PNG or JPEG)") from error
    if width * height > MAX_PIXELS:
        raise Rejected(f"more than {MAX_PIXELS} pixels")
    return EncodedImage(height, width, special)


def _special(image: ImageFile) -> str:
    if image.mode not in ("L", "RGB"):
        return f"{image.format} of mode {image.mode}"
    if isinstance(image, JpegImageFile):
        if image.mode == "L":
            return ""
        is_rgb = tuple(layer[0] for layer in image.layer) == _RGB_IDS
        other = image.info.get("adobe_transform", _YCBCR) != _YCBCR
        return "JPEG that stores RGB" if is_rgb or other else ""
    if "transparency" in image.info:
        return "PNG with a transparent colour"
    return "" if image.tile[0].args == image.mode else f"PNG of {image.tile[0].args}"
