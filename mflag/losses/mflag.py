"""The two losses of M-FLAG together."""

from typing import NamedTuple

from torch import Tensor, nn

from mflag.errors import InputError
from mflag.losses.alignment import AlignmentLoss
from mflag.losses.orthogonality import OrthogonalityLoss
from mflag.ops.arguments import check_finite


class MFLAGLossValue(NamedTuple):
    """The weighted sum, and the two unweighted parts."""

    total: Tensor
    orthogonality: Tensor
    alignment: Tensor


class MFLAGLoss(nn.Module):
    """alignment_weight · L_align + orthogonality_weight · L_orth.

    Args:
        orthogonality: the loss of the pooled latents; None is the preset ``recommended``.
        alignment: the loss of the projected latents against the text; None is the paper's.
        orthogonality_weight: weight of the first.
        alignment_weight: weight of the second.

    Raises:
        InputError: a weight is not a finite number, or a loss is no module.
    """

    def __init__(
        self,
        orthogonality: nn.Module | None = None,
        alignment: nn.Module | None = None,
        orthogonality_weight: float = 1.0,
        alignment_weight: float = 1.0,
    ) -> None:
        """Check and keep the arguments."""
        super().__init__()
        check_finite("orthogonality_weight", orthogonality_weight)
        check_finite("alignment_weight", alignment_weight)
        for name, loss in (("orthogonality", orthogonality), ("alignment", alignment)):
            if loss is not None and not isinstance(loss, nn.Module):
                raise InputError(f"{name} is {loss!r}; give a loss module, or None")
        if orthogonality is None:
            orthogonality = OrthogonalityLoss.preset("recommended")
        self.orthogonality = orthogonality
        self.alignment = AlignmentLoss() if alignment is None else alignment
        self.orthogonality_weight = orthogonality_weight
        self.alignment_weight = alignment_weight

    def forward(
        self, z_v: Tensor, z_a: Tensor, z_t: Tensor, index: Tensor | None = None
    ) -> MFLAGLossValue:
        """Return the losses of one batch.

        Args:
            z_v: (B, N) pooled latents of the encoder.
            z_a: (B, D) their projections.
            z_t: (B, D) text embeddings, or with ``index`` a frozen table (M, D).
            index: (B,) int64 rows of the table.

        Returns:
            ``.total``, ``.orthogonality`` and ``.alignment``, each ().
        """
        orthogonality = self.orthogonality(z_v)
        alignment = self.alignment(z_a, z_t, index)
        total = self.orthogonality_weight * orthogonality + self.alignment_weight * alignment
        return MFLAGLossValue(total, orthogonality, alignment)

    def extra_repr(self) -> str:
        """Return the weights for ``repr``."""
        return (
            f"orthogonality_weight={self.orthogonality_weight}, "
            f"alignment_weight={self.alignment_weight}"
        )
