"""The two losses and their balance."""

from dataclasses import dataclass
from typing import Any

from mflag.config.option import option


@dataclass
class LossConfig:
    """L = alignment_weight · L_align + w · L_orth; w is given, or set by the gradients' balance."""

    norm: str = option("standardize", "of the latent: none, sample, feature or standardize")
    scale: Any = option("batch", "s in C = xᵀx/s: a number, or batch (rows of the Gram)")
    target: float = option(1.0, "t, what the diagonal of C is pulled to")
    offdiag_weight: float = option(0.0051, "λ, weight of the off-diagonal")
    factor: float = option(0.5, "a, factor of the whole orthogonality loss")
    alignment_factor: float = option(1.0, "factor of the alignment loss (the authors' code: 2)")
    alignment_weight: float = option(1.0, "0 switches the alignment loss off")
    orthogonality_weight: float | None = option(
        None, "fixed weight, 0 switches the loss off; null leaves it to orthogonality_share"
    )
    orthogonality_share: float | None = option(
        0.1, "‖w ∂L_orth/∂z‖ as a share of ‖∂L_align/∂z‖; null with a fixed weight"
    )
    share_every: int = option(10, "steps between two measurements of the balance")
    gather: bool = option(True, "orthogonality over the batch of all ranks")
    precision: str = option("highest", "highest, or tf32 on GPUs")
