"""The published training loop, written from its facts: what a step of it does, and its settings.

Source: the authors' released code (M-FLAG, MICCAI 2023). A DataLoader augments each image by PIL;
each step tokenises the raw reports, pads them to 512 tokens, runs BERT-base on them without
gradient, and trains ResNet-50 and two projections with the N × N orthogonality, the cosine loss in
both directions and AdamW. Three ``item()`` calls a step wait for the device. On a GPU it runs in
fp16 with a GradScaler; on a CPU its autocast does nothing.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from bench.ladder.text_model import TextModel
from bench.peers.orthogonality import published

LATENT, HIDDEN, MEET, TEXT = 2048, 2048, 1024, 768


@dataclass(frozen=True)
class LoopSettings:
    """How the loop runs; the defaults are the published ones.

    Attributes:
        text_table: read the text vectors from a table, instead of running BERT in each step.
        padding: of the tokens: ``max_length`` (512), or ``longest`` of the batch.
        dtype: of autocast for images and text: None is float32 on a CPU, fp16 with scaler on a GPU.
        channels_last: memory format of images and weights.
    """

    text_table: bool = False
    padding: str = "max_length"
    dtype: torch.dtype | None = None
    channels_last: bool = False


class PublishedData(Dataset[dict[str, Any]]):
    """256² grey images and their raw reports, augmented one by one."""

    def __init__(self, images: np.ndarray, texts: list[str], size: int) -> None:
        """Keep (n, 256, 256) uint8 images and n reports; ``size`` is that of the crop."""
        self._images, self._texts = images, texts
        self._transform = transforms.Compose(
            [
                transforms.RandomCrop(size),
                transforms.RandomRotation((0, 90)),
                transforms.RandomGrayscale(0.5),
                transforms.RandomPerspective(
                    0.5, 0.5, interpolation=transforms.InterpolationMode.BICUBIC
                ),
                transforms.RandomAutocontrast(0.5),
                transforms.ToTensor(),
                transforms.Normalize([0.5] * 3, [0.5] * 3),
            ]
        )

    def __len__(self) -> int:
        """Number of studies."""
        return len(self._texts)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Return image (3, size, size) float32, report and row."""
        image = Image.fromarray(np.asarray(self._images[row])).convert("RGB")
        return {"image": self._transform(image), "raw_text": self._texts[row], "row": row}


class PublishedFeed:
    """Batches without end from a DataLoader."""

    def __init__(self, data: PublishedData, batch_size: int, workers: int, pins: bool) -> None:
        """Start ``workers`` processes; each holds two batches ready."""
        self.ahead = 2 * workers
        self._loader = DataLoader(
            data,
            batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pins,
            worker_init_fn=_one_thread,
        )
        self._batches = self._epochs()

    def next(self) -> dict[str, Any]:
        """Return image (B, 3, S, S), raw_text (B reports) and row (B,)."""
        return next(self._batches)

    def _epochs(self) -> Iterator[dict[str, Any]]:
        while True:
            yield from self._loader


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = torchvision.models.resnet50()
        self.encoder.fc = nn.Identity()
        self.image_projection, self.text_projection = _projection(LATENT), _projection(TEXT)

    def forward(self, images: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = self.encoder(images)
        return z, self.image_projection(z), self.text_projection(text)


def _projection(inputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN),
        nn.BatchNorm1d(HIDDEN),
        nn.ReLU(inplace=True),
        nn.Linear(HIDDEN, MEET),
        nn.BatchNorm1d(MEET, affine=False),
    )


def cosine_both_ways(x: Tensor, y: Tensor) -> Tensor:
    """The published alignment: 2 − 2 cos from x to y and once more from y to x, (B, D) to ()."""
    x, y = normalize(x, dim=1), normalize(y, dim=1)
    return ((2 - 2 * (x * y).sum(-1)) + (2 - 2 * (y * x).sum(-1))).mean()


class PublishedLoop:
    """Steps of the published loop."""

    def __init__(
        self, settings: LoopSettings, feed: PublishedFeed, text: TextModel, device: str
    ) -> None:
        """Build model, optimizer and schedule; with ``text_table`` embed all reports once."""
        self._settings, self._feed, self._text, self._device = settings, feed, text, device
        self.ahead = feed.ahead
        dtype = settings.dtype or (torch.float16 if device == "cuda" else torch.float32)
        self._autocast: Any = contextlib.nullcontext
        if dtype != torch.float32:
            self._autocast = lambda: torch.autocast(device, dtype)
        self._scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
        self._format = torch.channels_last if settings.channels_last else torch.contiguous_format
        self._model = _Model().to(device, memory_format=self._format).train()  # type: ignore[call-overload]
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=2e-5, weight_decay=0.05)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
            self._optimizer, T_0=1000, eta_min=1e-8
        )
        self._table = text.table if settings.text_table else None

    def step(self) -> float:
        """Train on the next batch; return the seconds that it was waited for."""
        begin = time.perf_counter()
        batch = self._feed.next()
        waited = time.perf_counter() - begin
        images = batch["image"].to(self._device, torch.float32, non_blocking=True)
        images = images.contiguous(memory_format=self._format)
        self._optimizer.zero_grad()
        with self._autocast():
            z, image, text = self._model(images, self._embed(batch))
            orthogonality = published(z)
            alignment = cosine_both_ways(image, text)
            loss = orthogonality + alignment
        for value in (loss, orthogonality, alignment):
            value.item()
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._schedule.step()
        return waited

    def drain(self) -> None:
        """Drop what was read ahead while others had their turn."""
        for _ in range(self.ahead):
            self._feed.next()

    def close(self) -> None:
        """Nothing is held but the feed, which others share."""

    def _embed(self, batch: dict[str, Any]) -> Tensor:
        if self._table is not None:
            return self._table[batch["row"].to(self._device)]
        return self._text.embed(batch["raw_text"], self._settings.padding)
