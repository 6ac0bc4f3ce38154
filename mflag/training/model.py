"""Encoder, projector and losses: from images and text vectors to one number."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mflag.config.loss import LossConfig
from mflag.distributed.reductions import sum_over_ranks
from mflag.losses import AlignmentLoss, GradientShare, OrthogonalityLoss
from mflag.training.batchnorm import keep_batchnorm_statistics
from mflag.training.text_places import TextPlaces, place_texts


class StepLosses(NamedTuple):
    """The losses of a step, each () float32; a loss that is switched off is 0."""

    total: Tensor
    alignment: Tensor
    orthogonality: Tensor


class PretrainingLoss(nn.Module):
    """Both losses of M-FLAG and their balance.

    Attributes:
        share: sets the orthogonality weight by the gradients, or None with a fixed weight.
        text_share: () float32, with several processes and gaps in the texts: this one's texts over
            the mean of all, so that the processes' mean is that of all texts; else None.
        measured_share: () float32, weighted gradient norms' ratio at the last measurement.
    """

    measured_share: Tensor
    text_share: Tensor | None
    table: Tensor | None

    def __init__(
        self,
        config: LossConfig,
        table: Tensor | None,
        projector: nn.Module | None,
        text_projector: nn.Module | None = None,
    ) -> None:
        """Build the losses.

        Args:
            config: weights and normalisation.
            table: (M, D) frozen text vectors; None without alignment loss, or when text trains.
            projector: (B, N) → (B, E); None without alignment loss.
            text_projector: (K, D) → (K, E), trained too; None compares with the text itself, D = E.
        """
        super().__init__()
        self.orthogonality = OrthogonalityLoss(
            norm=config.norm,
            scale=config.scale,
            target=config.target,
            offdiag_weight=config.offdiag_weight,
            factor=config.factor,
            gather=config.gather,
            precision=config.precision,
            equal_rows=True,  # the index stream drops the last, incomplete batch
        )
        self.alignment = AlignmentLoss(config.alignment_factor)
        self.projector = projector
        self.text_projector = text_projector
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("text_share", None, persistent=False)
        self.alignment_weight = config.alignment_weight
        self.fixed_weight = config.orthogonality_weight
        self.share_every = config.share_every
        share = config.orthogonality_share
        self.share = None if share is None else GradientShare(share, every=config.share_every)
        self.register_buffer("measured_share", torch.zeros(()))

    @property
    def weight(self) -> Tensor:
        """The orthogonality loss's weight in the last step, () float32."""
        if self.share is not None:
            return self.share.weight
        return self.measured_share.new_tensor(self.fixed_weight or 0.0)

    @property
    def least_texts(self) -> int:
        """With fewer texts a batch has no alignment loss: a projection's BatchNorm needs two."""
        return 1 if self.text_projector is None else 2

    @property
    def has_orthogonality(self) -> bool:
        """Whether the orthogonality loss is computed at all."""
        return self.share is not None or bool(self.fixed_weight)

    @property
    def picks_texts(self) -> bool:
        """Whether images without a text are left out, as a projection with BatchNorm needs it."""
        return self.text_projector is not None

    def forward(
        self, z: Tensor, text_rows: Tensor, step: int, vectors: Tensor | None = None
    ) -> StepLosses:
        """Return the losses of a batch.

        Args:
            z: (B, N) pooled latents, part of the encoder's graph.
            text_rows: (B,) int64 rows of the table, on the CPU; -1 where a study has no vector.
            step: from 0; the balance is measured at every ``share_every``-th.
            vectors: (K, D) of the K studies with text, from text layers in training; None takes
                them from the table.
        """
        picks = self.picks_texts or vectors is not None
        texts = place_texts(text_rows, picks=picks).to(z.device)
        alignment, orthogonality = self.parts(z, texts, vectors)
        if torch.is_grad_enabled() and z.requires_grad:
            if self.is_due(step):
                self.measure(z, texts, vectors)
            self.count()
        return self.weigh(alignment, orthogonality)

    def parts(
        self, z: Tensor, texts: TextPlaces, vectors: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return alignment and orthogonality, neither weighted: one graph for torch.compile.

        Args:
            z: (B, N) pooled latents.
            texts: on the device of ``z``.
            vectors: as in ``forward``.
        """
        zero = z.new_zeros((), dtype=torch.float32)
        alignment = zero if self.projector is None else self._align(z, texts, vectors)
        if self.text_share is not None:
            alignment = alignment * self.text_share
        orthogonality = self.orthogonality(z) if self.has_orthogonality else zero
        return alignment, orthogonality

    def weigh(self, alignment: Tensor, orthogonality: Tensor) -> StepLosses:
        """Return the sum of what ``parts`` returned, by the weights of now, and both parts."""
        weight: Tensor | float = self.fixed_weight or 0.0
        if self.share is not None:
            weight = self.share.weight
        if self.projector is None:
            total = weight * orthogonality
        elif not self.has_orthogonality:
            total = self.alignment_weight * alignment
        else:
            total = self.alignment_weight * alignment + weight * orthogonality
        return StepLosses(total, alignment, orthogonality)

    def is_due(self, step: int) -> bool:
        """Whether the balance is measured in this step."""
        if self.projector is None or not self.has_orthogonality:
            return False
        return step % self.share_every == 0 if self.share is None else self.share.is_due()

    def count(self) -> None:
        """Note that a training step was taken."""
        if self.share is not None:
            self.share.calls += 1

    def measure(self, z: Tensor, texts: TextPlaces, vectors: Tensor | None = None) -> None:
        """Measure both gradients at the latent, and set the weight if it follows the balance.

        Projector and losses run once more, from a latent that is cut off from the encoder: the
        step's own graph may be compiled, and is not asked to run backward thrice.
        """
        z = z.detach().requires_grad_()
        vectors = None if vectors is None else vectors.detach()
        with torch.enable_grad(), keep_batchnorm_statistics(self):
            alignment, orthogonality = self.parts(z, texts, vectors)
            reference, balanced = (
                torch.autograd.grad(loss, z, retain_graph=True, materialize_grads=True)[0]
                for loss in (self.alignment_weight * alignment, orthogonality)
            )
        if self.share is not None:
            self.share.measure(reference, balanced)
            self.measured_share.copy_(self.share.measured_share)
            return
        assert self.fixed_weight is not None
        squares = torch.stack([g.float().square().sum() for g in (reference, balanced)])
        reference, balanced = sum_over_ranks(squares).sqrt()
        share = self.fixed_weight * balanced / reference
        self.measured_share.copy_(torch.where(share.isfinite(), share, self.measured_share))

    def _align(self, z: Tensor, texts: TextPlaces, vectors: Tensor | None) -> Tensor:
        assert self.projector is not None
        projected, rows = self.projector(z), texts.rows
        if len(rows) < self.least_texts:
            return 0.0 * (projected.float().sum() + self._touch_text(vectors))
        if texts.picked is not None:
            projected = projected[texts.picked]
        if vectors is None and self.text_projector is None:
            assert self.table is not None
            if texts.known is not None:
                return self._align_known(projected, rows, texts.known)
            return self.alignment(projected, self.table, index=rows)
        if vectors is None:
            assert self.table is not None
            # The table's rows have length 1; a language model's, after LayerNorm, about √D.
            vectors = self.table[rows].float() * math.sqrt(self.table.shape[1])
        if self.text_projector is not None:
            vectors = self.text_projector(vectors)
        return self.alignment(projected.float(), vectors.float())

    def _touch_text(self, vectors: Tensor | None) -> Tensor | float:
        """Every weight in the graph of every step: several processes wait for each gradient."""
        total: Tensor | float = 0.0 if vectors is None else vectors.float().sum()
        if self.text_projector is not None:
            total = total + sum(p.sum() for p in self.text_projector.parameters())
        return total

    def _align_known(self, projected: Tensor, rows: Tensor, known: Tensor) -> Tensor:
        """The mean over the images with a text, without shapes that depend on how many there are.

        An image without one is compared with a vector in its own place: distance and gradient 0.
        """
        assert self.table is not None
        stand_in = self.table[rows].float()
        compared = torch.where(known[:, None], projected.float(), stand_in)
        count = known.sum()
        share = torch.where(count > 0, len(rows) / count.clamp(min=1), 0.0)
        return share * self.alignment(compared, self.table, index=rows)
