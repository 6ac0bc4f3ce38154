"""Encoder, projector and losses: from images and text vectors to one number."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mflag.config.loss import LossConfig
from mflag.distributed.reductions import sum_over_ranks
from mflag.losses import AlignmentLoss, GradientShare, OrthogonalityLoss


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
        zero = z.new_zeros((), dtype=torch.float32)
        if self.projector is None:
            orthogonality = self.orthogonality(z)
            return StepLosses((self.fixed_weight or 0.0) * orthogonality, zero, orthogonality)
        alignment = self._align(z, text_rows, vectors)
        if self.text_share is not None:
            alignment = alignment * self.text_share
        if not self.has_orthogonality:
            return StepLosses(self.alignment_weight * alignment, alignment, zero)
        orthogonality = self.orthogonality(z)
        return StepLosses(
            self._balance(alignment, orthogonality, z, step), alignment, orthogonality
        )

    def _align(self, z: Tensor, text_rows: Tensor, vectors: Tensor | None) -> Tensor:
        assert self.projector is not None
        projected = self.projector(z)
        known = (text_rows >= 0).nonzero()[:, 0]
        if len(known) < self.least_texts:
            return 0.0 * (projected.float().sum() + self._touch_text(vectors))
        if len(known) < len(text_rows):
            projected, text_rows = projected[known.to(z.device)], text_rows[known]
        rows = text_rows.to(z.device, non_blocking=True)
        if vectors is None and self.text_projector is None:
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

    def _balance(self, alignment: Tensor, orthogonality: Tensor, z: Tensor, step: int) -> Tensor:
        weighted = self.alignment_weight * alignment
        if self.share is not None:
            total = self.share(weighted, orthogonality, z)
            self.measured_share.copy_(self.share.measured_share)
            return total
        assert self.fixed_weight is not None
        if step % self.share_every == 0 and z.requires_grad:
            squares = torch.stack(
                [
                    torch.autograd.grad(loss, z, retain_graph=True)[0].float().square().sum()
                    for loss in (weighted, orthogonality)
                ]
            )
            reference, balanced = sum_over_ranks(squares).sqrt()
            share = self.fixed_weight * balanced / reference
            self.measured_share.copy_(torch.where(share.isfinite(), share, self.measured_share))
        return weighted + self.fixed_weight * orthogonality
