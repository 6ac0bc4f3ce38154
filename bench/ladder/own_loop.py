"""Our own steps: what ``mflag.training.loop`` does between two logging points."""

import itertools
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bench.peers.alignment import eager_alignment
from bench.peers.orthogonality import published
from mflag.config.train import TrainConfig
from mflag.data.augment import draw_parameters
from mflag.data.feeds import Batch, BatchReader, open_feed
from mflag.optim.schedule import set_learning_rate
from mflag.training.run import Run, build_run
from mflag.training.step import TrainingStep


class EagerOrthogonality(nn.Module):
    """The published N × N form, in the place of ours."""

    def forward(self, z: Tensor) -> Tensor:
        """Return the loss of (B, N) latents, ()."""
        return published(z)


class EagerAlignment(nn.Module):
    """The alignment in eager lines, in the place of ours."""

    def forward(self, z: Tensor, table: Tensor, index: Tensor) -> Tensor:
        """Return the loss of (B, D) projections and the rows ``index`` of (M, D) texts, ()."""
        return eager_alignment(z, table, index)


class OwnLoop:
    """Steps of a run.

    Attributes:
        run: its parts.
        ahead: batches that the feed may hold ready.
    """

    def __init__(
        self, config: TrainConfig, *, eager_losses: bool = False, plain_optimizer: bool = False
    ) -> None:
        """Build the run and open its feed.

        Args:
            config: as composed from a preset.
            eager_losses: the eager forms in place of our ops; the balance stays.
            plain_optimizer: torch's default AdamW in place of the configured optimizer.
        """
        self.run = build_run(config, None)
        loss = self.run.loss
        if eager_losses:
            loss.orthogonality = EagerOrthogonality()  # type: ignore[assignment]
            loss.alignment = EagerAlignment()  # type: ignore[assignment]
        optimizer = _plain_adamw(self.run) if plain_optimizer else self.run.optimizer
        self._optimizer, self._done = optimizer, 0
        self._step = TrainingStep(
            self.run.encoder, loss, optimizer, self.run.compute, config, has_gaps=self.run.has_gaps
        )
        self._feed = open_feed(config.feed, reader_of(self.run), range(self.run.total_steps))
        self._batches: Iterator[Batch] = iter(self._feed)
        self.ahead = config.feed.prefetch

    def step(self) -> float:
        """Train on the next batch; return the seconds that it was waited for."""
        begin = time.perf_counter()
        batch = next(self._batches)
        waited = time.perf_counter() - begin
        run, config = self.run, self.run.config
        set_learning_rate(self._optimizer, run.rate(self._done))
        epoch = run.stream.epoch_of(self._done)
        parameters = draw_parameters(config.augment, config.seed, epoch, batch.rows.numpy())
        self._step.run(batch, parameters, run.text_rows[batch.rows], self._done)
        self._done += 1
        return waited

    def drain(self) -> None:
        """Drop what was read ahead while others had their turn."""
        for _ in range(self.ahead):
            next(self._batches)

    def close(self) -> None:
        """Stop the feed."""
        self._feed.close()


class SyntheticLoop:
    """The same steps of a loop on one batch that is there already: no feed at all."""

    def __init__(self, loop: OwnLoop) -> None:
        """Share model and optimizer of ``loop``; on a GPU the batch lies on it."""
        self._loop, run = loop, loop.run
        batch = reader_of(run).read(0)
        held = Batch(batch.images.to(run.compute.device), batch.rows)
        self._batches = itertools.repeat(held)

    def step(self) -> float:
        """Train on the batch."""
        own, self._loop._batches = self._loop._batches, iter(self._batches)
        try:
            return self._loop.step()
        finally:
            self._loop._batches = own

    def drain(self) -> None:
        """Nothing was read ahead."""

    def close(self) -> None:
        """Nothing is held."""


def reader_of(run: Run) -> BatchReader:
    """Return the reader that the training loop gives to its feed."""
    size = run.config.train.image_size
    return BatchReader(run.prepared, run.stream, size, device=run.compute.device)


def _plain_adamw(run: Run) -> torch.optim.Optimizer:
    groups = [
        {key: group[key] for key in ("params", "weight_decay", "lr")}
        for group in run.optimizer.param_groups
    ]
    return torch.optim.AdamW(groups)
