"""One training step: augment, embed, losses, gradients, optimizer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mflag.config.train import TrainConfig
from mflag.data.augment import AugmentParameters, augment
from mflag.data.feeds import Batch
from mflag.distributed.gradients import average_gradients, copy_from_first, wrap_module
from mflag.distributed.reductions import has_peers
from mflag.models.grey_stem import input_channels
from mflag.models.trained_text import TrainedText
from mflag.optim.tensor_lr import keep_lr_on
from mflag.runtime.device import Compute
from mflag.runtime.transfer import send
from mflag.training.batchnorm import keep_batchnorm_statistics
from mflag.training.forward import Forward, autocast, compiled
from mflag.training.model import PretrainingLoss, StepLosses
from mflag.training.out_of_memory import names_what_fits
from mflag.training.replay import CudaRecorder, Recorder, Replay
from mflag.training.text_places import TextPlaces, place_texts
from mflag.training.whole_step import WholeStep


class TrainingStep:
    """Runs steps; holds no weights of its own. Nothing in a step waits for a GPU.

    Attributes:
        latents: (B, N) float32 pooled latents of the last step, without graph.
        is_finite: () bool on the device: every loss so far was a finite number.
        has_compiled: whether the last step also compiled or recorded.
    """

    def __init__(
        self,
        encoder: nn.Module,
        loss: PretrainingLoss,
        optimizer: torch.optim.Optimizer,
        compute: Compute,
        config: TrainConfig,
        text: TrainedText | None = None,
        *,
        has_gaps: bool = True,
        recorder: Recorder | None = None,
    ) -> None:
        """Choose what is compiled and recorded; several processes build their step together.

        Args:
            encoder: (B, C, S, S) to (B, N); C is 1 or 3.
            loss: both losses.
            optimizer: of all that trains, with its state loaded.
            compute: device, format, compiler.
            config: of the run.
            text: has layers in training, or None.
            has_gaps: whether images may come without a text.
            recorder: of CUDA graphs; None: the device's, when ``compute`` captures.
        """
        self._encoder, self._loss, self._text = encoder, loss, text
        self._optimizer, self._compute, self._config = optimizer, compute, config
        self._channels = input_channels(encoder)
        self._has_gaps = has_gaps
        self._picks = loss.picks_texts or text is not None
        self._embed = compiled(encoder, compute)
        forward = Forward(encoder, loss, compute)
        # A changing number of texts would compile again and again, and the losses ask the other
        # processes: then the encoder alone.
        if (has_gaps and self._picks) or has_peers():
            run = Forward(self._embed, loss, compute)  # type: ignore[arg-type]
        else:
            run = compiled(forward, compute)  # type: ignore[assignment]
        self._parts = WholeStep(forward, run, text, compute)
        self._model: nn.Module = self._parts
        if config.train.micro_batch_size is None:
            self._model = wrap_module(self._parts, config.compute)
        else:
            copy_from_first(self._parts)
        keep_lr_on(optimizer, compute.device if compute.captures else None)
        self._replay: Replay | None = None
        if compute.captures:
            self._replay = Replay(self._body, recorder or CudaRecorder(compute.device))
        self._runs = 0
        self.latents = torch.empty(0)
        self.is_finite = torch.ones((), dtype=torch.bool, device=compute.device)

    @property
    def has_compiled(self) -> bool:
        """See above."""
        if self._replay is not None and self._replay.has_recorded:
            return True
        return self._compute.compiles and self._runs == 1

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

        Raises:
            OutOfMemoryError: the batch does not fit; names a micro-batch that does.
        """
        device, measures = self._compute.device, self._loss.is_due(step)
        texts = place_texts(text_rows, picks=self._picks, has_gaps=self._has_gaps).to(device)
        images = send(batch.images, device)
        self._runs += 1
        with names_what_fits(self._try, len(images), self._config):
            if self._replay is not None:
                *losses, self.latents = self._replay(
                    _flat(images, parameters.to(device), texts), measures
                )
            else:
                pixels = self._augment(images, parameters.to(device))
                known = None if self._text is None else text_rows[text_rows >= 0]
                losses = self._train(pixels, texts, known, step, measures)
        self._loss.count()
        return StepLosses(*losses)

    def _body(self, tensors: Sequence[Tensor], measures: bool) -> Sequence[Tensor]:
        """A step from tensors that stay in place, for recording."""
        images, theta, brightness, contrast, *texts = tensors
        pixels = self._augment(images, AugmentParameters(theta, brightness, contrast))
        losses = self._train(pixels, TextPlaces(*texts), None, 0, measures)
        return [*losses, self.latents]

    def _augment(self, images: Tensor, parameters: AugmentParameters) -> Tensor:
        if self._config.data.wrap_bug:
            images = wrap_white(images)
        # bfloat16 where autocast would round the same values just before the first convolution
        size, dtype = self._config.train.image_size, self._compute.dtype
        pixels = augment(images, parameters, size, dtype, self._channels)
        return pixels.contiguous(memory_format=self._compute.memory_format)

    def _train(
        self, images: Tensor, texts: TextPlaces, known: Tensor | None, step: int, measures: bool
    ) -> list[Tensor]:
        self._optimizer.zero_grad(set_to_none=True)
        micro = self._config.train.micro_batch_size
        if micro is None or micro >= len(images):
            losses = self._whole(images, texts, known, step, measures)
        else:
            losses = self._in_parts(images, texts, known, step, measures, micro)
        if micro is not None:
            average_gradients(self._parts, self._config.compute.bucket_mb)
        self.is_finite.logical_and_(losses.total.isfinite())
        self._optimizer.step()
        return [value.detach() for value in losses]

    def _whole(
        self, images: Tensor, texts: TextPlaces, known: Tensor | None, step: int, measures: bool
    ) -> StepLosses:
        z, *parts, vectors = self._model(images, texts, known, step)
        losses = self._weigh(z, texts, vectors, parts, measures)
        self.latents = z
        losses.total.backward()
        return losses

    def _in_parts(
        self,
        images: Tensor,
        texts: TextPlaces,
        known: Tensor | None,
        step: int,
        measures: bool,
        size: int,
    ) -> StepLosses:
        """The whole batch's loss with the memory of ``size`` images.

        All parts are embedded without graph, one loss gives the gradient of every latent, and each
        part is embedded again to take its rows of that gradient further back; trained text goes the
        same way. Equal to the whole batch's step up to BatchNorm, which normalises by the part and
        moves its statistics once a part.
        """
        vectors = None
        with torch.no_grad(), autocast(self._compute), keep_batchnorm_statistics(self._encoder):
            z = torch.cat([self._embed(part).float() for part in images.split(size)])
            if self._text is not None and known is not None:
                vectors = self._text(known, step).requires_grad_()
        z.requires_grad_()
        with autocast(self._compute):
            parts = self._loss.parts(z, texts, vectors)
        losses = self._weigh(z, texts, vectors, parts, measures)
        losses.total.backward()
        assert z.grad is not None
        for part, gradient in zip(images.split(size), z.grad.split(size), strict=True):
            with autocast(self._compute):
                latent = self._embed(part).float()
            latent.backward(gradient)
        if self._text is not None and known is not None and vectors is not None:
            if vectors.grad is not None:
                with autocast(self._compute):
                    self._text.backward(known, step, vectors.grad)
        self.latents = z.detach()
        return losses

    def _weigh(
        self,
        z: Tensor,
        texts: TextPlaces,
        vectors: Tensor | None,
        parts: Sequence[Tensor],
        measures: bool,
    ) -> StepLosses:
        if measures:
            with autocast(self._compute):
                self._loss.measure(z, texts, vectors)
        return self._loss.weigh(*parts)

    def _try(self, size: int) -> None:
        """Embed so many images and go back, to see whether it fits."""
        self._optimizer.zero_grad(set_to_none=True)
        side, dtype = self._config.train.image_size, self._compute.dtype
        images = torch.zeros(
            size, self._channels, side, side, dtype=dtype, device=self._compute.device
        ).contiguous(memory_format=self._compute.memory_format)
        with autocast(self._compute):
            latent = self._encoder(images).float()
        latent.sum().backward()


def wrap_white(images: Tensor) -> Tensor:
    """Return uint8 images as the authors' code makes them: 1.0 times 256 is 0 in 8 bits.

    Prepared images are min-max times 255; times 256/255, rounded down, only 255 leaves its place.
    """
    return images.masked_fill(images == 255, 0)


def _flat(images: Tensor, parameters: AugmentParameters, texts: TextPlaces) -> list[Tensor]:
    drawn = [parameters.theta, parameters.brightness, parameters.contrast]
    return [images, *drawn, *(x for x in (texts.rows, texts.known) if x is not None)]
