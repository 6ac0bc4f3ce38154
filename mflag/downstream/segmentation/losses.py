"""What a decoder is trained on; each takes logits and truth (B, H, W) and gives a scalar."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

FOCAL_WEIGHT, FOCAL_GAMMA = 10.0, 2.0
# Keeps the ratio defined for a batch without foreground.
_SMOOTH = 1.0


def soft_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """Return (2·Σ p·t + 1) / (Σ p + Σ t + 1) over the batch at once."""
    p = torch.sigmoid(logits)
    return (2 * (p * truth).sum() + _SMOOTH) / (p.sum() + truth.sum() + _SMOOTH)


def focal(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over pixels of (1 − p_t)^γ · −log p_t (Lin et al. 2017, eq. 4), γ = 2."""
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    wrong = torch.sigmoid(torch.where(truth > 0.5, -logits, logits))  # 1 − p_t
    return (wrong**FOCAL_GAMMA * cross_entropy).mean()


def focal_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """Return 10 · focal − log(soft Dice), as MGCA and GLoRIA train."""
    return FOCAL_WEIGHT * focal(logits, truth) - torch.log(soft_dice(logits, truth))


def cross_entropy_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the mean binary cross-entropy + 1 − soft Dice."""
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, truth)
    return cross_entropy + 1 - soft_dice(logits, truth)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "focal_dice": focal_dice,
    "cross_entropy_dice": cross_entropy_dice,
}
