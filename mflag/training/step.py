"""One training step: augment, embed, losses, gradients, optimizer."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mflag.config.train import TrainConfig
from mflag.data.augment import AugmentParameters, augment
from mflag.data.feeds import Batch
from mflag.distributed.gradients import average_gradients, copy_from_first, wrap_module
from mflag.models.trained_text import TrainedText
from mflag.runtime.device import Compute
from mflag.training.model import PretrainingLoss, StepLosses
from mflag.training.whole_step import WholeStep


class TrainingStep:
    """Runs steps; holds no weights of its own.

    Attributes:
        latents: (B, N) float32 pooled latents of the last step, without graph.
        is_finite: () bool on the device: every loss so far was a finite number.
    """

    def __init__(
        self,
        encoder: nn.Module,
        loss: PretrainingLoss,
        optimizer: torch.optim.Optimizer,
        compute: Compute,
        config: TrainConfig,
        text: TrainedText | None = None,
    ) -> None:
        """Compile the encoder when ``compute`` says so; ``text`` has layers in training.

        With several processes, all of them build their step here together.
        """
        self._encoder = encoder
        self._embed = torch.compile(encoder) if compute.compiles else encoder
        self._loss = loss
        self._text = text
        self._optimizer = optimizer
        self._compute = compute
        self._size = config.train.image_size
        self._micro = config.train.micro_batch_size
        self._bucket_mb = config.compute.bucket_mb
        self._parts = WholeStep(encoder, self._embed, loss, text)
        self._model: nn.Module = self._parts
        if self._micro is None or self._micro >= config.train.batch_size:
            self._model = wrap_module(self._parts, config.compute)
        else:
            copy_from_first(self._parts)
        self._wraps = config.data.wrap_bug
        self.latents = torch.empty(0)
        self.is_finite = torch.ones((), dtype=torch.bool, device=compute.device)

    def run(
        self, batch: Batch, parameters: AugmentParameters, text_rows: Tensor, step: int
    ) -> StepLosses:
        """Train on a batch.

        Args:
            batch: images of this rank.
            parameters: their augmentation, on the CPU.
            text_rows: (B,) int64 rows of the text table, or places of the trained text, on the
                CPU; -1 where there is none.
            step: from 0.
        """
        self._optimizer.zero_grad(set_to_none=True)
        images = self._prepare(batch, parameters)
        if self._micro is None or self._micro >= len(images):
            losses = self._whole(images, text_rows, step)
        else:
            losses = self._in_parts(images, text_rows, step, self._micro)
            average_gradients(self._parts, self._bucket_mb)
        self.is_finite &= losses.total.isfinite()
        self._optimizer.step()
        return StepLosses(*(value.detach() for value in losses))

    def _prepare(self, batch: Batch, parameters: AugmentParameters) -> Tensor:
        device = self._compute.device
        images = batch.images.to(device, non_blocking=True)
        if self._wraps:
            images = wrap_white(images)
        # bfloat16 where autocast would round the same values just before the first convolution
        pixels = augment(images, parameters.to(device), self._size, self._compute.dtype)
        return pixels.contiguous(memory_format=self._compute.memory_format)

    def _whole(self, images: Tensor, text_rows: Tensor, step: int) -> StepLosses:
        with self._autocast():
            losses, self.latents = self._model(images, text_rows, step)
        losses.total.backward()
        return losses

    def _in_parts(self, images: Tensor, text_rows: Tensor, step: int, size: int) -> StepLosses:
        """The whole batch's loss with the memory of ``size`` images.

        All parts are embedded without graph, one loss gives the gradient of every latent, and each
        part is embedded again to take its rows of that gradient further back; trained text goes the
        same way. Equal to the whole batch's step up to BatchNorm, which normalises by the part and
        moves its statistics once a part.
        """
        vectors = None
        with torch.no_grad(), self._autocast(), keep_batchnorm_statistics(self._encoder):
            z = torch.cat([self._embed(part).float() for part in images.split(size)])
            if self._text is not None:
                vectors = self._text(_known(text_rows), step).requires_grad_()
        z.requires_grad_()
        with self._autocast():
            losses = self._loss(z, text_rows, step, vectors)
        losses.total.backward()
        assert z.grad is not None
        for part, gradient in zip(images.split(size), z.grad.split(size), strict=True):
            with self._autocast():
                latent = self._embed(part).float()
            latent.backward(gradient)
        if self._text is not None and vectors is not None and vectors.grad is not None:
            with self._autocast():
                self._text.backward(_known(text_rows), step, vectors.grad)
        self.latents = z.detach()
        return losses

    def _autocast(self) -> torch.autocast:
        enabled = self._compute.dtype != torch.float32
        return torch.autocast(self._compute.device.type, self._compute.dtype, enabled=enabled)


def wrap_white(images: Tensor) -> Tensor:
    """Return uint8 images as the authors' code makes them: 1.0 times 256 is 0 in 8 bits.

    Prepared images are min-max times 255; times 256/255, rounded down, only 255 leaves its place.
    """
    return images.masked_fill(images == 255, 0)


def _known(text_rows: Tensor) -> Tensor:
    return text_rows[text_rows >= 0]


@contextlib.contextmanager
def keep_batchnorm_statistics(module: nn.Module) -> Iterator[None]:
    """Normalise by the batch, as in training, and leave the running statistics as they are."""
    layers = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [layer.track_running_stats for layer in layers]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer, value in zip(layers, before, strict=True):
            layer.track_running_stats = value
