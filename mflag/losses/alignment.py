"""The alignment loss as a module."""

from torch import Tensor, nn

from mflag.ops.alignment import alignment_loss
from mflag.ops.arguments import check_backend, check_finite


class AlignmentLoss(nn.Module):
    """factor · mean_b (2 − 2 cos(z_a,b, z_t,b)), Eq. 2 of the paper.

    Args:
        factor: 1 in the paper, 2 in the authors' code.
        backend: a name from ``mflag.backends()``; None takes the fastest that runs here.

    Raises:
        InputError: factor is not finite, or the backend is unknown.
    """

    def __init__(self, factor: float = 1.0, backend: str | None = None) -> None:
        """Check and keep the arguments."""
        super().__init__()
        check_finite("factor", factor)
        check_backend(backend, exists=True)
        self.factor = factor
        self.backend = backend

    def forward(self, z_a: Tensor, z_t: Tensor, index: Tensor | None = None) -> Tensor:
        """Return the loss of image against text embeddings.

        Args:
            z_a: (B, D) image embeddings.
            z_t: (B, D) text embeddings, or with ``index`` a frozen table (M, D).
            index: (B,) int64 rows of the table.

        Returns:
            () float32, float64 for float64.
        """
        return alignment_loss(z_a, z_t, index, factor=self.factor, backend=self.backend)

    def extra_repr(self) -> str:
        """Return the factor for ``repr``, and the backend if it is forced."""
        return f"factor={self.factor}" + (f", backend={self.backend!r}" if self.backend else "")
