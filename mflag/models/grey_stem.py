"""The first convolution of an encoder on one grey channel instead of three equal ones."""

from typing import Any

import torch
from torch import Tensor, nn

STEM = "conv1.weight"


def to_one_channel(encoder: nn.Module) -> nn.Module:
    """Let an encoder take (B, 1, H, W): its first weights, summed over red, green and blue.

    Equal channels x give Σ_c w_c * x = (Σ_c w_c) * x, so the features stay what they were, up to
    rounding. It holds because the normalisation is the same in every channel.

    Args:
        encoder: of ``build_encoder``; changed in place.

    Returns:
        ``encoder``.
    """
    old: Any = encoder.conv1
    if old.in_channels == 1:
        return encoder
    new = nn.Conv2d(
        1, old.out_channels, old.kernel_size, old.stride, old.padding, bias=False,
        device=old.weight.device, dtype=old.weight.dtype,
    )  # fmt: skip
    with torch.no_grad():
        new.weight.copy_(old.weight.sum(1, keepdim=True))
    encoder.conv1 = new
    return encoder


def input_channels(encoder: nn.Module) -> int:
    """How many channels an encoder takes."""
    stem: Any = encoder.conv1
    return int(stem.in_channels)


def find_grey_stem(encoder: nn.Module) -> nn.Parameter | None:
    """The first convolution's weights if they are for one channel, else None."""
    stem: Any = encoder.conv1
    return stem.weight if stem.in_channels == 1 else None


def on_three_channels(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return an encoder's state for three equal channels: a third of the weights in each.

    Args:
        state: of an encoder on one channel or three; not changed.
    """
    stem = state[STEM]
    if stem.shape[1] == 3:
        return state
    return {**state, STEM: (stem / 3).repeat(1, 3, 1, 1)}
