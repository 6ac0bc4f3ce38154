"""Grain of tissue: smooth random fields, drawn once a study and used in several places."""

from dataclasses import dataclass

from mflag.data.phantom.draws import Array, Draws
from mflag.data.phantom.frame import SIZE, blur, enlarge


@dataclass(frozen=True)
class Texture:
    """Random fields of mean 0.

    Attributes:
        white: (256, 256), no grain, deviation 1.
        fine: (256, 256), grain of about 2 pixels, deviation 0.4.
        coarse: (256, 256), grain of 4 pixels, deviation 0.7.
        broad: (256, 256), grain of 16 pixels, deviation 0.7.
    """

    white: Array
    fine: Array
    coarse: Array
    broad: Array

    @classmethod
    def draw(cls, draws: Draws) -> "Texture":
        """Draw the fields."""
        white = draws.noise(SIZE, SIZE)
        return cls(
            white=white,
            fine=blur(white),
            coarse=enlarge(draws.noise(SIZE // 4, SIZE // 4), 4),
            broad=enlarge(draws.noise(SIZE // 16, SIZE // 16), 16),
        )
