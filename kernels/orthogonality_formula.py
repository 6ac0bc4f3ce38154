"""The parameters of the orthogonality loss, as its kernels take them."""

from typing import Any, NamedTuple

import triton.language as tl

VARIANCE_EPS = tl.constexpr(1e-5)
NONE, SAMPLE, FEATURE, STANDARDIZE, CENTER = (tl.constexpr(code) for code in range(5))
CODES = {"none": 0, "sample": 1, "feature": 2, "standardize": 3, "center": 4}


class Parameters(NamedTuple):
    """The formula as the kernels take it: compiled in, so that λ and a are not rounded to float32.

    ``scale`` is 0 for the number of rows; ``diagonal_weight`` is δ.
    """

    norm: int
    scale: float
    target: float
    offdiag_weight: float
    factor: float
    eps: float
    diagonal_weight: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether L = a ‖C − t‖²: then the dual needs no d_i."""
        return self.offdiag_weight == 1 and self.diagonal_weight == 1

    def constants(self, *names: str) -> dict[str, Any]:
        """Return some of the parameters, by the names that they have in kernels."""
        kernel_names = ("NORM", "SCALE", "TARGET", "LAMBDA", "FACTOR", "EPS", "DELTA")
        every = dict(zip(kernel_names, self, strict=True))
        return {name: every[name] for name in names}
