"""Test images with their true and their predicted boxes."""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mflag.downstream.detection.boxes import TrueBoxes
from mflag.downstream.detection.matching import IOU_THRESHOLDS
from mflag.downstream.detection.protocols import Judged
from mflag.downstream.examples import png
from mflag.downstream.plan import Plan
from mflag.reporting.gallery import Picture

SHOWN_SCORE = 0.1
HIT_IOU = 0.5
_SIDE = 384  # pixels: lines and numbers stay legible
_TRUE, _PREDICTED = "#3cc9a0", "#f0914a"


def draw_examples(
    plan: Plan, truths: TrueBoxes, found: Mapping[str, Judged], count: int
) -> list[Picture]:
    """Return ``count`` test images, each once an encoder; three of four have a true box.

    Args:
        plan: images, and which of them are scored.
        truths: boxes of all images.
        found: predictions of the test images by encoder.
        count: of images.
    """
    test, images = plan.test, plan.prepared.images
    has_box = np.array([len(boxes) > 0 for boxes in truths.of(test)])
    empty = min(count // 4, int((~has_box).sum()))
    places = [
        *_spread(np.flatnonzero(has_box), count - empty),
        *_spread(np.flatnonzero(~has_box), empty),
    ]
    return [
        _picture(
            np.asarray(images[test[place]]),
            truths.of_row[test[place]],
            judged,
            place,
            k,
            name,
        )
        for k, place in enumerate(places, 1)
        for name, judged in found.items()
    ]


def _spread(places: np.ndarray, count: int) -> list[int]:
    """``count`` of the places, evenly spaced."""
    if not len(places):
        return []
    chosen = np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int)
    return [int(place) for place in places[chosen]]


def _picture(
    pixels: np.ndarray, truth: np.ndarray, judged: Judged, place: int, number: int, encoder: str
) -> Picture:
    mine = (judged.predictions.image == place) & (judged.predictions.scores >= SHOWN_SCORE)
    boxes, scores = judged.predictions.boxes[mine], judged.predictions.scores[mine]
    hits = int(judged.full.hits[mine, IOU_THRESHOLDS.index(HIT_IOU)].sum())
    image = Image.fromarray(pixels).resize((_SIDE, _SIDE)).convert("RGB")
    canvas = ImageDraw.Draw(image)
    for box in truth:
        canvas.rectangle((box * (_SIDE - 1)).tolist(), outline=_TRUE, width=3)
    font = ImageFont.load_default(size=15)
    for box, score in zip(boxes * (_SIDE - 1), scores, strict=True):
        canvas.rectangle(box.tolist(), outline=_PREDICTED, width=2)
        corner = (float(box[0]) + 3, max(float(box[1]) - 17, 1))
        canvas.text(corner, f"{score:.2f}", fill=_PREDICTED, font=font, stroke_width=2,
                    stroke_fill="black")  # fmt: skip
    words = f"{len(truth)} true, {len(boxes)} predicted, {hits} of them at IoU {HIT_IOU:g} or more"
    alt = f"test image {number} with true and predicted boxes, {encoder}: {words}"
    return Picture(png(np.asarray(image)), alt, f"{number}, {encoder}", words)
