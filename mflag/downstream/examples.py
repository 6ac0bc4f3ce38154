"""Example studies of a report."""

import io

import numpy as np
from PIL import Image

from mflag.data.manifest import LABEL_PREFIX, Prepared
from mflag.reporting.gallery import Picture


def choose_examples(prepared: Prepared, count: int) -> list[Picture]:
    """Return ``count`` test studies, evenly spaced in the table."""
    test = prepared.rows("test")
    picked = np.linspace(0, len(test) - 1, min(count, len(test))).round().astype(int)
    labels = prepared.values(LABEL_PREFIX)
    pictures = []
    for k, row in enumerate(test[picked], 1):
        found = [n for n, value in zip(prepared.labels, labels[row], strict=True) if value == 1]
        text = str(prepared.manifest["text"].iloc[row])
        title = ", ".join(found) or "no finding"
        pictures.append(Picture(png(prepared.images[row]), f"example study {k}", title, text))
    return pictures


def png(image: np.ndarray) -> bytes:
    """Return a PNG file's content of an image (H, W) or (H, W, 3) uint8."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(image)).save(file, "PNG", optimize=True)
    return file.getvalue()
