"""The augmentation from its definition: every output pixel by its four neighbours, in float64."""

import numpy as np


def augmented(images, theta, brightness, contrast, *, size, mean, std):
    """(B, H, W) integers and float parameters to (B, size, size) float64."""
    parameters = zip(images, theta, brightness, contrast, strict=True)
    return np.stack([_one(*own, size, mean, std) for own in parameters])


def _one(image, theta, brightness, contrast, size, mean, std):
    height, width = image.shape
    centers = (2 * np.arange(size) + 1) / size - 1  # of output pixels, in -1 to 1
    x, y = centers[None, :], centers[:, None]
    at_x = theta[0, 0] * x + theta[0, 1] * y + theta[0, 2]
    at_y = theta[1, 0] * x + theta[1, 1] * y + theta[1, 2]
    column = (at_x + 1) * width / 2 - 0.5  # in pixels; a whole number is a pixel's center
    row = (at_y + 1) * height / 2 - 0.5
    left, top = np.floor(column), np.floor(row)
    sampled = np.zeros((size, size))
    for down in (0, 1):
        for right in (0, 1):
            share_x = 1 - np.abs(column - (left + right))
            share_y = 1 - np.abs(row - (top + down))
            sampled += share_x * share_y * _pixels(image, top + down, left + right)
    grey = sampled.mean()
    changed = np.clip(((sampled - grey) * contrast + grey) * brightness, 0, 1)
    return (changed - mean) / std


def _pixels(image, row, column):
    height, width = image.shape
    is_inside = (0 <= row) & (row < height) & (0 <= column) & (column < width)
    rows = np.where(is_inside, row, 0).astype(np.int64)
    columns = np.where(is_inside, column, 0).astype(np.int64)
    return np.where(is_inside, image[rows, columns] / 255, 0.0)
