"""Training of one decoder on labelled rows, and what it predicts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mflag.config.evaluate import TaskConfig
from mflag.data.augment import augment
from mflag.data.feeds.batch import Batch
from mflag.data.manifest import Prepared
from mflag.downstream.encoders import NamedEncoder
from mflag.downstream.features import input_batches
from mflag.downstream.segmentation.affine import draw_affine, move_masks
from mflag.downstream.segmentation.dice import Counts, count_pixels, score
from mflag.downstream.segmentation.losses import LOSSES
from mflag.downstream.segmentation.masks import Masks, as_tensor, resize_masks
from mflag.downstream.segmentation.unet import FrozenUnet
from mflag.downstream.training import Compute, Course, Training, repeatable

# Of valid's maps; 504 images of 64 x 64 and a ResNet-18 in bf16 need 121 MB.
KEPT_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Segmented:
    """What a training led to.

    Attributes:
        counts: of the test rows, by the weights of the best epoch.
        course: Dice on valid by epoch, and which one was kept.
        pictured: (p, size, size) bool, predictions of the rows that are to be shown.
    """

    counts: Counts
    course: Course
    pictured: np.ndarray


@dataclass(frozen=True)
class Material:
    """What every decoder of an evaluation learns from and is judged by.

    Attributes:
        prepared: images.
        masks: true masks.
        valid: (v,) rows that choose the epoch.
        test: (t,) rows that are scored.
        pictured: rows whose predictions are kept.
    """

    prepared: Prepared
    masks: Masks
    valid: np.ndarray
    test: np.ndarray
    pictured: np.ndarray


def train_decoder(
    material: Material,
    rows: np.ndarray,
    encoder: NamedEncoder,
    config: TaskConfig,
    compute: Compute,
    seed: int,
) -> Segmented:
    """Train a U-Net's decoder on a frozen encoder; equal arguments give equal results.

    Args:
        material: images and masks.
        rows: (k,) labelled rows of the train split.
        encoder: it stays as it is.
        config: rates, sizes, loss and when to stop.
        compute: where and how.
        seed: of decoder, order and augmentation.

    Raises:
        InputError: the GPU's memory does not hold a step.
    """
    with repeatable(config, compute.device):
        return _Decoder(material, rows, encoder, config, compute, seed).run()


class _Decoder:
    """One run."""

    def __init__(
        self,
        material: Material,
        rows: np.ndarray,
        encoder: NamedEncoder,
        config: TaskConfig,
        compute: Compute,
        seed: int,
    ) -> None:
        self.material, self.encoder, self.config = material, encoder, config
        self.compute, self.seed = compute, seed
        self.network = FrozenUnet(encoder, compute, seed, config.batchnorm == "update")
        self.training = Training(
            self.network, encoder, material.prepared, rows, config, compute, seed
        )
        self.loss = LOSSES[config.loss]
        self._kept: list[list[Tensor]] | None = None

    def run(self) -> Segmented:
        chooses = bool(self.material.masks.is_positive[self.material.valid].any())
        course = self.training.run(
            f"segmentation with {self.encoder.name}",
            self._loss_of,
            self._valid_dice if chooses else None,
            "valid Dice",
        )
        shown = list(self._predictions(self.material.pictured))
        size = self.training.size
        return Segmented(
            self._count(self.material.test, self._predictions(self.material.test)),
            course,
            torch.cat(shown).cpu().numpy() if shown else np.zeros((0, size, size), bool),
        )

    def _loss_of(self, batch: Batch, step: int) -> Tensor:
        device, size, rows = self.compute.device, self.training.size, batch.rows.numpy()
        epoch = self.training.stream.epoch_of(step)
        parameters = draw_affine(self.config.affine, self.seed, epoch, rows).to(device)
        pixels = augment(batch.images.to(device, non_blocking=True), parameters, size)
        truth = move_masks(as_tensor(self.material.masks.of(rows), device), parameters, size)
        return self.loss(self.network(self.training.as_input(pixels)), truth)

    def _valid_dice(self) -> float:
        """Pooled: misses and false alarms lower it, and predicting nothing scores 0."""
        if not all(p.isfinite().all() for p in self.network.parameters() if p.requires_grad):
            return float("nan")
        valid = self.material.valid
        return score(self._count(valid, self._decoded(self._valid_maps())), "dice_pooled")

    def _count(self, rows: np.ndarray, predictions: Iterable[Tensor]) -> Counts:
        parts, start = [], 0
        for predicted in predictions:
            chosen = rows[start : start + len(predicted)]
            true = as_tensor(self.material.masks.of(chosen), predicted.device)
            parts.append(count_pixels(predicted, resize_masks(true, self.training.size)))
            start += len(predicted)
        both, of_predicted, of_true = np.concatenate(parts, 1)
        return Counts(both, of_predicted, of_true, self.material.masks.is_positive[rows])

    def _predictions(self, rows: np.ndarray) -> Iterator[Tensor]:
        """Yield (B, size, size) bool, p > 0.5, without augmentation; the last batch as it is."""
        yield from self._decoded(self._maps(rows))

    def _decoded(self, batches: Iterable[list[Tensor]]) -> Iterator[Tensor]:
        self.network.eval()
        for maps in batches:
            with torch.inference_mode():
                predicted = self.network.decode(maps) > 0
            yield predicted

    def _valid_maps(self) -> Iterable[list[Tensor]]:
        """The encoder's maps of valid: once for all epochs where they do not change and fit."""
        valid = self.material.valid
        if self._kept is not None:
            return self._kept
        one = next(self._maps(valid[:1]))
        size_bytes = len(valid) * sum(m.nbytes for m in one)
        if self.network.updates_batchnorm or size_bytes > KEPT_BYTES:
            return self._maps(valid)
        self._kept = list(self._maps(valid))
        return self._kept

    def _maps(self, rows: np.ndarray) -> Iterator[list[Tensor]]:
        """Yield the encoder's maps of unchanged images."""
        self.network.eval()
        device, batch, size = self.compute.device, self.compute.batch_size, self.training.size
        images = self.material.prepared.images
        for inputs in input_batches(images, rows, self.encoder, size, device, batch):
            with torch.inference_mode():
                maps = self.network.encode(inputs)
            yield maps
