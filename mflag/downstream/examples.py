"""Example studies of a report."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mflag.data.manifest import LABEL_PREFIX, Prepared


@dataclass(frozen=True)
class Example:
    """A study to show.

    Attributes:
        png: the image, base64.
        text: its report.
        findings: names of its positive labels.
    """

    png: str
    text: str
    findings: list[str]


def choose_examples(prepared: Prepared, count: int) -> list[Example]:
    """Return ``count`` test studies, evenly spaced in the table."""
    test = prepared.rows("test")
    picked = np.linspace(0, len(test) - 1, min(count, len(test))).round().astype(int)
    labels = prepared.values(LABEL_PREFIX)
    return [
        Example(
            _png(prepared.images[row]),
            str(prepared.manifest["text"].iloc[row]),
            [n for n, value in zip(prepared.labels, labels[row], strict=True) if value == 1],
        )
        for row in test[picked]
    ]


def _png(image: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(np.asarray(image)).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
