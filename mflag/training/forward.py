"""Encoder, projector and losses as one module: one graph for torch.compile, one for DDP."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mflag.runtime.device import Compute
from mflag.training.model import PretrainingLoss
from mflag.training.text_places import TextPlaces


class Forward(nn.Module):
    """From augmented images to latents and unweighted losses.

    The weights of the losses stay outside: the balance may change them between this forward and
    its backward.
    """

    def __init__(self, encoder: nn.Module, loss: PretrainingLoss, compute: Compute) -> None:
        """Keep the parts; their parameters are not copied."""
        super().__init__()
        self.encoder, self.loss = encoder, loss
        self._compute = compute

    def forward(
        self, images: Tensor, texts: TextPlaces, vectors: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return latents, alignment and orthogonality.

        Args:
            images: (B, C, S, S), normalised.
            texts: of these images, on their device.
            vectors: of text layers in training, or None; see ``PretrainingLoss``.

        Returns:
            (B, N) float32, and two () float32.
        """
        with autocast(self._compute):
            z = self.encoder(images).float()
            return z, *self.loss.parts(z, texts, vectors)


def autocast(compute: Compute) -> torch.autocast:
    """The number format of activations; switched off for float32."""
    enabled = compute.dtype != torch.float32
    return torch.autocast(compute.device.type, compute.dtype, enabled=enabled)


def compiled(function: Callable[..., Any], compute: Compute) -> Callable[..., Any]:
    """Return ``function`` through torch.compile, if ``compute`` says so.

    Whole, or an error: a graph break costs more than it hides. Batches are whole, so shapes stay.
    """
    if not compute.compiles:
        return function
    build = functools.partial(torch.compile, fullgraph=True, dynamic=False)
    return build(function, backend=compute.compiler)
