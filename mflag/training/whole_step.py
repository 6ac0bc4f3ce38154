"""Everything that trains, as one module: what several processes wrap and average."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mflag.models.trained_text import TrainedText
from mflag.runtime.device import Compute
from mflag.training.forward import Forward, autocast
from mflag.training.text_places import TextPlaces


class WholeStep(nn.Module):
    """Text layers where they train, then encoder, projections and losses."""

    def __init__(
        self,
        forward: Forward,
        run: Callable[..., Any],
        text: TrainedText | None,
        compute: Compute,
    ) -> None:
        """Keep the parts; ``run`` is ``forward``, perhaps compiled."""
        super().__init__()
        self.inner, self.text = forward, text
        self._run = (run,)  # no second module: it has the weights of ``forward``
        self._compute = compute

    def forward(
        self, images: Tensor, texts: TextPlaces, known: Tensor | None, step: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return latents, alignment, orthogonality and the texts' vectors.

        Args:
            images: (B, C, S, S), normalised.
            texts: of these images, on their device.
            known: (K,) int64 on the CPU, places of the texts in training; None without.
            step: from 0.

        Returns:
            (B, N) float32 without graph, two () float32, and (K, D) without graph or None.
        """
        vectors = None
        if self.text is not None and known is not None:
            with autocast(self._compute):
                vectors = self.text(known, step)
        z, *parts = self._run[0](images, texts, vectors)
        alignment, orthogonality = parts
        return z.detach(), alignment, orthogonality, None if vectors is None else vectors.detach()
