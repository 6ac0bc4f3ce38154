"""Training on labelled rows: AdamW, warm-up and cosine; the epoch that valid likes best counts."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mflag.config.evaluate import EvaluateConfig, TaskConfig
from mflag.config.feed import FeedConfig
from mflag.config.optim import OptimConfig
from mflag.data.feeds import open_feed
from mflag.data.feeds.batch import Batch, BatchReader
from mflag.data.index_stream import IndexStream
from mflag.data.manifest import IMAGE_SIZE, STORED_SIZES, Prepared
from mflag.downstream.encoders import NamedEncoder
from mflag.errors import InputError
from mflag.models.encoder_file import IMAGE_MEAN, IMAGE_STD
from mflag.optim.schedule import learning_rate_factor, set_learning_rate
from mflag.runtime.progress import Advance, progress
from mflag.training.optimizer import build_optimizer

# What a training reads of ``task``.
TRAINING_KEYS = {"epochs", "lr", "weight_decay", "batch_size", "image_size", "patience"}
# So that a handful of labelled images is not over before the learning rate has risen.
MIN_STEPS_PER_EPOCH = 10
WARMUP_SHARE = 0.05
# The smallest input of which a ResNet's last block sees a pixel.
MIN_IMAGE_SIZE = 32


@dataclass(frozen=True)
class Compute:
    """Where and how a task computes.

    Attributes:
        device: of all tensors.
        dtype: of activations; weights, head and loss stay float32.
        batch_size: images a forward pass without gradient.
    """

    device: torch.device
    dtype: torch.dtype
    batch_size: int


@dataclass(frozen=True)
class Course:
    """How a training went.

    Attributes:
        valid: score on valid after each epoch; empty where valid can choose nothing.
        epochs: epochs that were run.
        best_epoch: the epoch whose weights were kept, from 1; 0 where none ended well.
        diverged: loss or score became NaN or infinite, which ended training.
    """

    valid: list[float]
    epochs: int
    best_epoch: int
    diverged: bool


def check_training(config: EvaluateConfig, smallest_batch: int = 2) -> None:
    """Check what a training reads of ``task``.

    Args:
        config: of the program.
        smallest_batch: 2 where a BatchNorm learns, which needs two images.

    Raises:
        InputError: a value that cannot be used.
    """
    task = config.task
    # Generated studies are stored at IMAGE_SIZE.
    largest = IMAGE_SIZE if config.data.path is None else max(STORED_SIZES)
    for name, smallest in (("epochs", 1), ("patience", 1), ("batch_size", smallest_batch)):
        value = getattr(task, name)
        if value < smallest:
            raise InputError(f"task.{name} is {value}; give {smallest} or more")
    if not 0 < task.lr < float("inf"):
        raise InputError(f"task.lr is {task.lr}; give a number above 0")
    if not 0 <= task.weight_decay < float("inf"):
        raise InputError(f"task.weight_decay is {task.weight_decay}; give 0 or more")
    if task.image_size is not None and not MIN_IMAGE_SIZE <= task.image_size <= largest:
        raise InputError(
            f"task.image_size is {task.image_size}; give {MIN_IMAGE_SIZE} to {largest}, or null "
            "for the encoder's own"
        )


@contextmanager
def repeatable(config: TaskConfig, device: torch.device) -> Iterator[None]:
    """The same convolution algorithms in every run, and no search for faster ones.

    Raises:
        InputError: the GPU's memory does not hold a step.
    """
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"task.batch_size is {config.batch_size}, for which the memory of {device} is too "
                "small; give less, or a smaller task.image_size"
            ) from error


class Training:
    """One training of a network on labelled rows of the train split.

    Attributes:
        size: height and width of the network's input, pixels.
        stream: order of the labelled rows.
        steps: of an epoch.
    """

    def __init__(
        self,
        network: nn.Module,
        encoder: NamedEncoder,
        prepared: Prepared,
        rows: np.ndarray,
        config: TaskConfig,
        compute: Compute,
        seed: int,
        *,
        reads_images: bool = True,
    ) -> None:
        """Plan the batches.

        Args:
            network: on the device; parameters with ``requires_grad`` are trained, ``train()`` is
                called before each epoch.
            encoder: how its input is normalised, and its own size.
            prepared: images.
            rows: (k,) labelled rows of the train split.
            config: rates, sizes and when to stop.
            compute: where.
            seed: of the order.
            reads_images: False where the loss only wants the rows of a batch.
        """
        self.network, self.config, self._device = network, config, compute.device
        self.size = config.image_size or encoder.image_size
        self.stream = IndexStream(len(rows), min(config.batch_size, len(rows)), seed)
        self.steps = max(self.stream.steps_per_epoch, MIN_STEPS_PER_EPOCH)
        self._rows = rows
        self._reader: BatchReader | None = None
        if reads_images:
            self._reader = BatchReader(
                prepared, self.stream, self.size, device=compute.device, rows=rows
            )
        self._optimizer = build_optimizer(
            [network],
            OptimConfig(name="adamw", lr=config.lr, weight_decay=config.weight_decay),
            self.stream.batch_size,
        )
        # Pre-training normalises by IMAGE_MEAN, IMAGE_STD; ImageNet's encoder by other values.
        std = torch.tensor(encoder.std, device=compute.device).view(1, -1, 1, 1)
        mean = torch.tensor(encoder.mean, device=compute.device).view(1, -1, 1, 1)
        self._gain, self._shift = IMAGE_STD / std, (IMAGE_MEAN - mean) / std

    def as_input(self, pixels: Tensor) -> Tensor:
        """Return (B, 3, H, W) images normalised as pre-training does, as the encoder wants them."""
        inputs = pixels * self._gain + self._shift
        return inputs.contiguous(memory_format=torch.channels_last)

    def run(
        self,
        title: str,
        loss: Callable[[Batch, int], Tensor],
        score: Callable[[], float] | None,
        score_name: str,
    ) -> Course:
        """Train until valid gets no better; leave the weights of the best epoch in place.

        Args:
            title: of the progress bar.
            loss: of a batch at a step, from 0, float32.
            score: of the network on valid, the higher the better; None keeps the last epoch.
            score_name: what the progress bar calls it.
        """
        total = self.steps * self.config.epochs
        with (
            self._batches(total) as batches,
            progress(title, "images", total * self.stream.batch_size) as advance,
        ):
            return self._epochs(batches, loss, score, score_name, advance)

    @contextmanager
    def _batches(self, total: int) -> Iterator[Iterator[Batch]]:
        """The batches of all steps; without images where none are read."""
        if self._reader is None:
            none = torch.empty(0, dtype=torch.uint8)
            places = map(self.stream.positions, range(total))
            yield (Batch(none, torch.from_numpy(self._rows[place])) for place in places)
            return
        feed = open_feed(FeedConfig(resident="false"), self._reader, range(total))
        try:
            yield iter(feed)
        finally:
            feed.close()

    def _epochs(
        self,
        batches: Iterator[Batch],
        loss_of: Callable[[Batch, int], Tensor],
        score: Callable[[], float] | None,
        score_name: str,
        advance: Advance,
    ) -> Course:
        best: dict[str, Tensor] | None = None
        scores: list[float] = []
        best_epoch, epoch, diverged = 0, 0, False
        while epoch < self.config.epochs and epoch - best_epoch < self.config.patience:
            loss = self._epoch(batches, epoch, loss_of, advance)
            value = None if score is None else score()
            epoch += 1
            diverged = not np.isfinite([loss, value or 0]).all()
            if diverged:
                break
            figures = {"epoch": f"{epoch}", "loss": f"{loss:.3f}"}
            if value is not None:
                scores.append(value)
                figures[score_name] = f"{value:.3f}"
            advance(0, figures)
            if value is None or value > max(scores[:-1], default=-np.inf):
                best, best_epoch = copy.deepcopy(self.network.state_dict()), epoch
        if best is not None:
            self.network.load_state_dict(best)
        return Course(scores, epoch, best_epoch, diverged)

    def _epoch(
        self,
        batches: Iterator[Batch],
        epoch: int,
        loss_of: Callable[[Batch, int], Tensor],
        advance: Advance,
    ) -> float:
        """Train on one epoch's batches; return its mean loss."""
        self.network.train()
        total = torch.zeros((), device=self._device)
        for step in range(epoch * self.steps, (epoch + 1) * self.steps):
            batch = next(batches)
            self._set_rate(step)
            self._optimizer.zero_grad(set_to_none=True)
            loss = loss_of(batch, step)
            loss.backward()
            self._optimizer.step()
            total += loss.detach()
            advance(len(batch.rows))
        return float(total) / self.steps

    def _set_rate(self, step: int) -> None:
        total = self.steps * self.config.epochs
        factor = learning_rate_factor(step, total, round(WARMUP_SHARE * total))
        set_learning_rate(self._optimizer, factor)
