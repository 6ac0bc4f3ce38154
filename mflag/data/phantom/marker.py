"""Letters burnt into the image, from a bitmap font of 5 x 7 dots."""

import numpy as np
from numpy.typing import NDArray

from mflag.data.phantom.draws import Array, Draws
from mflag.data.phantom.frame import SIZE

# One number a row, top to bottom; its five bits are the dots from left to right.
FONT = {
    " ": (0, 0, 0, 0, 0, 0, 0),
    "A": (14, 17, 17, 31, 17, 17, 17),
    "B": (30, 17, 17, 30, 17, 17, 30),
    "C": (14, 17, 16, 16, 16, 17, 14),
    "E": (31, 16, 16, 30, 16, 16, 31),
    "I": (14, 4, 4, 4, 4, 4, 14),
    "L": (16, 16, 16, 16, 16, 16, 31),
    "N": (17, 25, 21, 21, 19, 17, 17),
    "O": (14, 17, 17, 17, 17, 17, 14),
    "P": (30, 17, 17, 30, 16, 16, 16),
    "R": (30, 17, 17, 30, 20, 18, 17),
    "S": (15, 16, 16, 14, 1, 1, 30),
    "T": (31, 4, 4, 4, 4, 4, 4),
    "U": (17, 17, 17, 17, 17, 17, 14),
}
TEXTS = ("AP PORTABLE", "AP", "PA", "SUPINE", "ERECT", "AP ERECT", "PORTABLE")


def letters(text: str, scale: int = 1) -> NDArray[np.bool_]:
    """Return (7 scale, 6 scale per letter) bool dots."""
    # a sixth dot, always dark, keeps letters apart
    rows = [
        [(FONT[letter][row] << 1) >> (5 - dot) & 1 for letter in text for dot in range(6)]
        for row in range(7)
    ]
    dots = np.array(rows, dtype=bool)
    return np.repeat(np.repeat(dots, scale, axis=0), scale, axis=1)


def burn_markers(image: Array, draws: Draws) -> None:
    """Write a side letter and sometimes how the image was taken, in place, as grey values.

    Nothing written depends on a finding.
    """
    if draws.chance(0.72):
        side = draws.pick(("R", "L", "L"))
        dots = letters(side, draws.pick((1, 1, 2)))
        row = int(draws.uniform(14, 120 if draws.chance(0.5) else 40))
        offset = int(draws.uniform(6, 24))
        column = offset if side == "R" else SIZE - offset - dots.shape[1]
        _burn(image, dots, row, column, draws)
    if draws.chance(0.22):
        dots = letters(draws.pick(TEXTS), 1)
        column = int(draws.uniform(6, SIZE - 6 - dots.shape[1]))
        _burn(image, dots, draws.pick((8, 10, 236, 240)), column, draws)


def _burn(image: Array, dots: NDArray[np.bool_], row: int, column: int, draws: Draws) -> None:
    height, width = dots.shape
    grey = draws.uniform(215.0, 255.0)
    boxed = draws.chance(0.4)
    if boxed:  # a lead letter in a frame: dark letter or dark ground
        image[row - 3 : row + height + 3, column - 3 : column + width + 2] = draws.uniform(
            60.0, 110.0
        )
    image[row : row + height, column : column + width][dots] = grey
