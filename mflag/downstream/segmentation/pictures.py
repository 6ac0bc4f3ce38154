"""Test images with the outlines of truth and prediction."""

import numpy as np
import torch
from scipy.ndimage import binary_dilation, binary_erosion

from mflag.downstream.examples import png
from mflag.downstream.segmentation.decoder import Material
from mflag.downstream.segmentation.dice import Counts, count_pixels, image_dice
from mflag.downstream.segmentation.masks import resize_masks
from mflag.reporting.gallery import Picture

# Okabe and Ito: told apart by people who do not see red or green.
TRUE_COLOUR, PREDICTED_COLOUR = (86, 180, 233), (240, 160, 0)
_SHOWN_SIZE = 256


def choose_rows(test: np.ndarray, is_positive: np.ndarray, count: int) -> np.ndarray:
    """Return rows of images with a mask, evenly spaced in the table, and one without at the end.

    Args:
        test: (t,) rows.
        is_positive: (n,) bool of all rows.
        count: at most.
    """
    positive, empty = test[is_positive[test]], test[~is_positive[test]]
    last = empty[:1] if count > 1 else empty[:0]
    wanted = min(count - len(last), len(positive))
    if wanted < 1:
        return np.zeros(0, np.int64)
    places = np.linspace(0, len(positive) - 1, wanted).round().astype(int)
    return np.concatenate([positive[places], last])


def draw_pictures(
    material: Material, predicted: np.ndarray, name: str, fraction: float
) -> list[Picture]:
    """Draw the chosen test images.

    Args:
        material: ``pictured`` are the rows.
        predicted: (p, size, size) bool.
        name: of the encoder.
        fraction: share of the labels.
    """
    rows = material.pictured
    truth = torch.from_numpy(material.masks.of(rows))
    found = torch.from_numpy(predicted)
    both, marked, true = count_pixels(found, resize_masks(truth, predicted.shape[-1]))
    counts = Counts(both, marked, true, material.masks.is_positive[rows])
    shown = resize_masks(found, _SHOWN_SIZE).numpy()
    pictures = []
    for k, (row, dice) in enumerate(zip(rows, image_dice(counts), strict=True)):
        title = f"Dice {dice:.2f}" if counts.has_mask[k] else "no lesion"
        number = f"{counts.predicted[k]:,} pixels predicted"
        text = f"{name}, {100 * fraction:g} % of the labels: {number}, {counts.true[k]:,} true"
        alt = f"test image {k + 1}, true mask outlined in blue, predicted mask in orange"
        image = outlined(material.prepared.images[row], truth[k].numpy(), shown[k])
        pictures.append(Picture(png(image), alt, title, text))
    return pictures


def outlined(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return (256, 256, 3) uint8 with both outlines.

    Args:
        image: (S, S) uint8.
        truth: (256, 256) bool, drawn outside of its border.
        predicted: (256, 256) bool, drawn inside of its border, so that neither hides the other.
    """
    grey = torch.from_numpy(np.array(image))[None, None].float()
    size = (_SHOWN_SIZE, _SHOWN_SIZE)
    small = torch.nn.functional.interpolate(grey, size, mode="bilinear", antialias=True)
    colours = np.repeat(small[0, 0].round().byte().numpy()[..., None], 3, 2)
    colours[binary_dilation(truth) & ~truth] = TRUE_COLOUR
    colours[predicted & ~binary_erosion(predicted)] = PREDICTED_COLOUR
    return colours
