"""Fine-tuning: all layers of an encoder and a linear head are trained on labelled rows."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mflag.config.evaluate import TaskConfig
from mflag.data.augment import augment, draw_parameters
from mflag.data.feeds.batch import Batch
from mflag.data.manifest import Prepared
from mflag.downstream.encoders import NamedEncoder
from mflag.downstream.features import input_batches
from mflag.downstream.scores import class_aucs, is_two_sided
from mflag.downstream.training import Compute, Training, repeatable
from mflag.models.encoder_file import EMBEDDING_DIM

HEAD_STD = 0.01


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
    with repeatable(config, compute.device):
        return _Tuning(prepared, labels, rows, encoder, config, compute, seed).run()


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
        self.trained = is_two_sided(labels[rows])
        self.network = _Network(encoder, labels.shape[1], compute, seed)
        self.training = Training(self.network, encoder, prepared, rows, config, compute, seed)

    def run(self) -> FineTuned:
        valid, test = self.prepared.rows("valid"), self.prepared.rows("test")
        chooses = bool((self.trained & is_two_sided(self.labels[valid])).any())
        course = self.training.run(
            f"fine-tuning {self.encoder.name}",
            self._loss_of,
            (lambda: self._macro_auc(valid)) if chooses else None,
            "valid AUC",
        )
        return FineTuned(
            self._predict(test), self.trained, course.valid, course.epochs, course.best_epoch,
            course.diverged,
        )  # fmt: skip

    def _loss_of(self, batch: Batch, step: int) -> Tensor:
        return self._loss(self.network(self._augmented(batch, step)), batch.rows)

    def _augmented(self, batch: Batch, step: int) -> Tensor:
        """(B, 3, size, size), normalised as the encoder expects it."""
        device = self.compute.device
        epoch = self.training.stream.epoch_of(step)
        parameters = draw_parameters(self.config.augment, self.seed, epoch, batch.rows.numpy())
        images = batch.images.to(device, non_blocking=True)
        return self.training.as_input(augment(images, parameters.to(device), self.training.size))

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
                    self.prepared.images, rows, self.encoder, self.training.size, device, batch
                )
            ]
        return np.concatenate(parts)
