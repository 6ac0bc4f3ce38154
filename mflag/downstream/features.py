"""Frozen features of images: global average pool, eval mode, float32, no projector."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mflag.data.resize import resize_batch
from mflag.downstream.encoders import NamedEncoder
from mflag.errors import InputError
from mflag.runtime.progress import progress


def embed(
    images: np.ndarray, rows: np.ndarray, encoder: NamedEncoder, device: torch.device, batch: int
) -> np.ndarray:
    """Return the encoder's features of some images.

    Args:
        images: (n, S, S) uint8, memory map or array.
        rows: (k,) row numbers, ascending.
        encoder: the network and how its input is normalised.
        device: where to compute.
        batch: images a forward pass.

    Returns:
        (k, embedding_dim) float32.

    Raises:
        InputError: a feature is NaN or infinite.
    """
    module = encoder.module.to(device).to(memory_format=torch.channels_last).eval()
    parts = []
    # Convolutions on CUDA use TF32 unless told otherwise; the protocol says float32.
    fp32 = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    bar = progress(f"features of {encoder.name}", "images", len(rows))
    with torch.inference_mode(), fp32, bar as advance:
        for inputs in input_batches(images, rows, encoder, encoder.image_size, device, batch):
            parts.append(module(inputs).float().cpu().numpy())
            advance(len(inputs))
    features = np.concatenate(parts)
    if not np.isfinite(features).all():
        raise InputError(f"encoder {encoder.name!r} gives NaN or infinite features; train it again")
    return features


def input_batches(
    images: np.ndarray,
    rows: np.ndarray,
    encoder: NamedEncoder,
    size: int,
    device: torch.device,
    batch: int,
) -> Iterator[Tensor]:
    """Yield what an encoder sees of some images, unchanged but for size and normalisation.

    Args:
        images: (n, S, S) uint8, memory map or array.
        rows: (k,) row numbers, ascending.
        encoder: gives mean and std.
        size: height and width of the input, pixels.
        device: where the batches are.
        batch: images a batch; the last may be smaller.

    Yields:
        (B, 3, size, size) float32 in ``channels_last``.
    """
    mean, std = (_per_channel(values, device) for values in (encoder.mean, encoder.std))
    for start in range(0, len(rows), batch):
        pixels = torch.from_numpy(images[rows[start : start + batch]]).to(device).unsqueeze(1)
        inputs = (resize_batch(pixels, size) - mean) / std
        yield inputs.contiguous(memory_format=torch.channels_last)


def _per_channel(values: list[float], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device).view(1, -1, 1, 1)
