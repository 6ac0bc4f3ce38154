"""Everything that trains, as one module: what several processes wrap and average."""

from torch import Tensor, nn

from mflag.models.trained_text import TrainedText
from mflag.training.model import PretrainingLoss, StepLosses


class WholeStep(nn.Module):
    """Images to losses: encoder, projections, losses, and text layers where they train."""

    def __init__(
        self,
        encoder: nn.Module,
        embed: nn.Module,
        loss: PretrainingLoss,
        text: TrainedText | None,
    ) -> None:
        """Keep the parts; ``embed`` is ``encoder``, perhaps compiled."""
        super().__init__()
        self.encoder, self.loss, self.text = encoder, loss, text
        self._embed = (embed,)  # no second module: it shares the encoder's weights

    def forward(self, images: Tensor, text_rows: Tensor, step: int) -> tuple[StepLosses, Tensor]:
        """Return the losses and the (B, N) float32 latents, these without graph.

        Args:
            images: (B, 1 or 3, S, S) augmented.
            text_rows: (B,) int64 on the CPU; -1 where a study has no vector.
            step: from 0.
        """
        z = self._embed[0](images).float()
        vectors = None if self.text is None else self.text(text_rows[text_rows >= 0], step)
        return self.loss(z, text_rows, step, vectors), z.detach()
