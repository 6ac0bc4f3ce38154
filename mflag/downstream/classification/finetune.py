"""Fine-tuning: all layers of an encoder and a linear head are trained on labelled rows."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mflag.config.evaluate import TaskConfig
from mflag.config.feed import FeedConfig
from mflag.config.optim import OptimConfig
from mflag.data.augment import augment, draw_parameters
from mflag.data.feeds import open_feed
from mflag.data.feeds.batch import Batch, BatchReader
from mflag.data.index_stream import IndexStream
from mflag.data.manifest import Prepared
from mflag.downstream.encoders import NamedEncoder
from mflag.downstream.features import input_batches
from mflag.downstream.scores import class_aucs, is_two_sided
from mflag.errors import InputError
from mflag.models.encoder_file import EMBEDDING_DIM, IMAGE_MEAN, IMAGE_STD
from mflag.optim.schedule import learning_rate_factor, set_learning_rate
from mflag.runtime.progress import Advance, progress
from mflag.training.optimizer import build_optimizer

# So that a handful of labelled images is not over before the learning rate has risen.
MIN_STEPS_PER_EPOCH = 10
WARMUP_SHARE = 0.05
HEAD_STD = 0.01


@dataclass(frozen=True)
class Compute:
    """Where and how fine-tuning computes.

    Attributes:
        device: of all tensors.
        dtype: of activations; weights, head and loss stay float32.
        batch_size: images a forward pass without gradient.
    """

    device: torch.device
    dtype: torch.dtype
    batch_size: int


@dataclass(frozen=True)
class FineTuned:
    """What fine-tuning led to.

    Attributes:
        scores: (t, K) float32 logits of the test rows, by the weights of ``best_epoch``.
        trained: (K,) bool, False where the labelled rows hold no positive or no negative.
        valid_auc: macro AUC on valid after each epoch; empty where valid can choose nothing.
        epochs: epochs that were run.
        best_epoch: the epoch whose weights were kept, from 1; 0 where none ended well.
        diverged: the loss became NaN or infinite, which ended training.
    """

    scores: np.ndarray
    trained: np.ndarray
    valid_auc: list[float]
    epochs: int
    best_epoch: int
    diverged: bool


def finetune(
    prepared: Prepared,
    labels: np.ndarray,
    rows: np.ndarray,
    encoder: NamedEncoder,
    config: TaskConfig,
    compute: Compute,
    seed: int,
) -> FineTuned:
    """Train a copy of an encoder with a linear head: masked binary cross-entropy, AdamW.

    Equal arguments give equal results on the same machine. BatchNorm is in training mode.

    Args:
        prepared: images and splits.
        labels: (n, K) 1, 0, NaN masked: such a cell is in no loss and in no score.
        rows: (k,) labelled rows of the train split; one class at least has both kinds.
        encoder: where training starts; it stays as it is.
        config: rates, sizes and when to stop.
        compute: where and how.
        seed: of head, order and augmentation.

    Raises:
        InputError: the GPU's memory does not hold a step.
    """
    # Same convolution algorithms in every run, and no search for faster ones.
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        try:
            return _Tuning(prepared, labels, rows, encoder, config, compute, seed).run()
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"task.batch_size is {config.batch_size}, for which the memory of {compute.device} "
                "is too small; give less, or a smaller task.image_size"
            ) from error


class _Network(nn.Module):
    """An encoder under autocast and a linear head in float32."""

    def __init__(self, encoder: NamedEncoder, classes: int, compute: Compute, seed: int) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder.module)  # the next draw starts from it again
        self.encoder.requires_grad_(True)
        self.head = nn.Linear(EMBEDDING_DIM[encoder.arch], classes)
        generator = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.head.weight, std=HEAD_STD, generator=generator)
        nn.init.zeros_(self.head.bias)
        self._dtype = compute.dtype
        self.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        enabled = self._dtype != torch.float32
        with torch.autocast(images.device.type, self._dtype, enabled=enabled):
            latent = self.encoder(images)
        return self.head(latent.float())  # type: ignore[no-any-return]


class _Tuning:
    """One run of fine-tuning."""

    def __init__(
        self,
        prepared: Prepared,
        labels: np.ndarray,
        rows: np.ndarray,
        encoder: NamedEncoder,
        config: TaskConfig,
        compute: Compute,
        seed: int,
    ) -> None:
        self.prepared, self.encoder, self.config = prepared, encoder, config
        self.compute, self.seed, self.labels = compute, seed, labels
        self.size = config.image_size or encoder.image_size
        self.trained = is_two_sided(labels[rows])
        self.stream = IndexStream(len(rows), min(config.batch_size, len(rows)), seed)
        self.steps = max(self.stream.steps_per_epoch, MIN_STEPS_PER_EPOCH)  # an epoch
        self.reader = BatchReader(
            prepared, self.stream, self.size, device=compute.device, rows=rows
        )
        self.network = _Network(encoder, labels.shape[1], compute, seed)
        self.optimizer = build_optimizer(
            [self.network],
            OptimConfig(name="adamw", lr=config.lr, weight_decay=config.weight_decay),
            self.stream.batch_size,
        )
        # Pre-training normalises by IMAGE_MEAN, IMAGE_STD; ImageNet's encoder by other values.
        std = torch.tensor(encoder.std, device=compute.device).view(1, -1, 1, 1)
        mean = torch.tensor(encoder.mean, device=compute.device).view(1, -1, 1, 1)
        self.gain, self.shift = IMAGE_STD / std, (IMAGE_MEAN - mean) / std

    def run(self) -> FineTuned:
        valid, test = self.prepared.rows("valid"), self.prepared.rows("test")
        chooses = bool((self.trained & is_two_sided(self.labels[valid])).any())
        total = self.steps * self.config.epochs
        feed = open_feed(FeedConfig(resident="false"), self.reader, range(total))
        bar = progress(f"fine-tuning {self.encoder.name}", "images", total * self.stream.batch_size)
        try:
            with bar as advance:
                course = self._epochs(iter(feed), valid if chooses else None, advance)
        finally:
            feed.close()
        return FineTuned(self._predict(test), self.trained, **course)

    def _epochs(
        self, batches: Iterator[Batch], valid: np.ndarray | None, advance: Advance
    ) -> dict[str, Any]:
        """Train until valid gets no better; leave the weights of the best epoch in place."""
        best: dict[str, Tensor] | None = None
        aucs: list[float] = []
        best_epoch, epoch, diverged = 0, 0, False
        while epoch < self.config.epochs and epoch - best_epoch < self.config.patience:
            loss = self._epoch(batches, epoch, advance)
            auc = None if valid is None else self._macro_auc(valid)
            epoch += 1
            diverged = not np.isfinite([loss, auc or 0]).all()
            if diverged:
                break
            figures = {"epoch": f"{epoch}", "loss": f"{loss:.3f}"}
            if auc is not None:
                aucs.append(auc)
                figures["valid AUC"] = f"{auc:.3f}"
            advance(0, figures)
            if valid is None or aucs[-1] > max(aucs[:-1], default=-np.inf):
                best, best_epoch = copy.deepcopy(self.network.state_dict()), epoch
        if best is not None:
            self.network.load_state_dict(best)
        return {
            "valid_auc": aucs, "epochs": epoch, "best_epoch": best_epoch, "diverged": diverged,
        }  # fmt: skip

    def _epoch(self, batches: Iterator[Batch], epoch: int, advance: Advance) -> float:
        """Train on one epoch's batches; return its mean loss."""
        self.network.train()
        total = torch.zeros((), device=self.compute.device)
        for step in range(epoch * self.steps, (epoch + 1) * self.steps):
            batch = next(batches)
            self._set_rate(step)
            self.optimizer.zero_grad(set_to_none=True)
            logits = self.network(self._augmented(batch, step))
            loss = self._loss(logits, batch.rows)
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
            advance(len(batch.rows))
        return float(total) / self.steps

    def _set_rate(self, step: int) -> None:
        total = self.steps * self.config.epochs
        factor = learning_rate_factor(step, total, round(WARMUP_SHARE * total))
        set_learning_rate(self.optimizer, factor)

    def _augmented(self, batch: Batch, step: int) -> Tensor:
        """(B, 3, size, size), normalised as the encoder expects it."""
        device = self.compute.device
        epoch = self.stream.epoch_of(step)
        parameters = draw_parameters(self.config.augment, self.seed, epoch, batch.rows.numpy())
        images = batch.images.to(device, non_blocking=True)
        pixels = augment(images, parameters.to(device), self.size)
        return (pixels * self.gain + self.shift).contiguous(memory_format=torch.channels_last)

    def _loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Mean cross-entropy over the known cells of the classes that are trained."""
        labels = self.labels[rows.numpy()]
        known = ~np.isnan(labels) & self.trained
        device = self.compute.device
        mask = torch.from_numpy(known.astype(np.float32)).to(device, non_blocking=True)
        truth = torch.from_numpy(np.nan_to_num(labels)).to(device, non_blocking=True)
        cells = functional.binary_cross_entropy_with_logits(
            logits, truth.to(logits.dtype), weight=mask, reduction="sum"
        )
        return cells / max(int(known.sum()), 1)

    def _macro_auc(self, rows: np.ndarray) -> float:
        """NaN where a logit is."""
        logits = self._predict(rows)
        if not np.isfinite(logits).all():
            return float("nan")
        aucs = class_aucs(logits, self.labels[rows])
        return float(np.nanmean(np.where(self.trained, aucs, np.nan)))

    def _predict(self, rows: np.ndarray) -> np.ndarray:
        """(k, K) logits, without augmentation."""
        self.network.eval()
        device, batch = self.compute.device, self.compute.batch_size
        with torch.inference_mode():
            parts = [
                self.network(inputs).cpu().numpy()
                for inputs in input_batches(
                    self.prepared.images, rows, self.encoder, self.size, device, batch
                )
            ]
        return np.concatenate(parts)
