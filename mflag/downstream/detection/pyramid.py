"""Feature maps of a frozen encoder at strides 8, 16 and 32, computed once where memory allows."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mflag.downstream.encoders import NamedEncoder
from mflag.downstream.features import input_batches
from mflag.downstream.training import Compute
from mflag.runtime.memory import available_memory
from mflag.runtime.progress import progress

STRIDES = (8, 16, 32)
MIN_IMAGE_SIZE = 64
# Of the memory that is left; the rest is for training and for everybody else.
_MEMORY_SHARE = 0.4
_LEVELS = ("layer2", "layer3", "layer4")


def freeze(encoder: nn.Module) -> nn.Module:
    """Take an encoder out of training: no gradient, BatchNorm by its stored statistics."""
    return encoder.requires_grad_(False).eval()


def feature_maps(encoder: nn.Module, images: Tensor) -> list[Tensor]:
    """Return C3, C4, C5 of a torchvision ResNet.

    Args:
        encoder: frozen.
        images: (B, 3, S, S), normalised as the encoder wants them; S a multiple of 32.

    Returns:
        (B, channels, S / stride, S / stride) for each of ``STRIDES``, float32.
    """
    maps, values = [], images
    with torch.no_grad():  # not inference_mode: the head trains on these maps
        for name, layer in encoder.named_children():
            if name == "avgpool":
                break
            values = layer(values)
            if name in _LEVELS:
                maps.append(values.float())
    return maps


class FeaturePyramids:
    """Maps of the images of one encoder."""

    def __init__(
        self, images: np.ndarray, encoder: NamedEncoder, size: int, compute: Compute
    ) -> None:
        """Freeze the encoder.

        Args:
            images: (n, S, S) uint8, memory map or array.
            encoder: its module is frozen and moved to the device.
            size: height and width of its input, pixels.
            compute: where, and how many images a forward pass.
        """
        module = encoder.module.to(compute.device).to(memory_format=torch.channels_last)
        self._module = freeze(module)
        self._images, self._encoder, self._size, self._compute = images, encoder, size, compute
        self.channels = [int(m.shape[1]) for m in self._compute_maps(np.zeros(1, np.int64))]
        self._place = np.full(len(images), -1, np.int64)
        self._kept: list[Tensor] = []

    def remember(self, wanted: Sequence[np.ndarray]) -> None:
        """Compute and keep the maps of rows, the first arrays first, as far as memory goes.

        Args:
            wanted: arrays of row numbers.
        """
        rows = np.array(list(dict.fromkeys(np.concatenate(wanted).tolist())), np.int64)
        sides = [self._size // stride for stride in STRIDES]
        shapes = [(c, side, side) for c, side in zip(self.channels, sides, strict=True)]
        free = available_memory(torch.device("cpu"))
        if free is not None:
            each = 4 * sum(c * h * w for c, h, w in shapes)
            rows = rows[: int(_MEMORY_SHARE * free / each)]
        self._kept = [torch.empty((len(rows), *shape)) for shape in shapes]
        self._place[rows] = np.arange(len(rows))
        batch = self._compute.batch_size
        with progress(f"feature maps of {self._encoder.name}", "images", len(rows)) as advance:
            for start in range(0, len(rows), batch):
                maps = self._compute_maps(rows[start : start + batch])
                for kept, values in zip(self._kept, maps, strict=True):
                    kept[start : start + batch] = values
                advance(len(maps[0]))

    def of(self, rows: np.ndarray) -> list[Tensor]:
        """Return C3, C4, C5 of some images on the device; (B, c, h, w) float32 each."""
        places = self._place[rows]
        if (places < 0).any():
            return self._compute_maps(rows)
        index = torch.from_numpy(places)
        return [kept[index].to(self._compute.device) for kept in self._kept]

    def batches(self, rows: np.ndarray) -> Iterable[list[Tensor]]:
        """Yield the maps of many images in order, ``compute.batch_size`` at a time."""
        for start in range(0, len(rows), self._compute.batch_size):
            yield self.of(rows[start : start + self._compute.batch_size])

    def _compute_maps(self, rows: np.ndarray) -> list[Tensor]:
        device = self._compute.device
        # Convolutions on CUDA use TF32 unless told otherwise; frozen features are float32.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False, deterministic=True):
            (inputs,) = input_batches(
                self._images, rows, self._encoder, self._size, device, len(rows)
            )
            return feature_maps(self._module, inputs)
