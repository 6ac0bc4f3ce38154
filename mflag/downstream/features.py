"""Frozen features of images: global average pool, eval mode, float32, no projector."""

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
        images: (n, 256, 256) uint8, memory map or array.
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
    mean, std = (_per_channel(values, device) for values in (encoder.mean, encoder.std))
    parts = []
    # Convolutions on CUDA use TF32 unless told otherwise; the protocol says float32.
    fp32 = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    bar = progress(f"features of {encoder.name}", "images", len(rows))
    with torch.inference_mode(), fp32, bar as advance:
        for start in range(0, len(rows), batch):
            chosen = rows[start : start + batch]
            pixels = torch.from_numpy(images[chosen]).to(device).unsqueeze(1)
            grey = resize_batch(pixels, encoder.image_size)
            inputs = ((grey - mean) / std).contiguous(memory_format=torch.channels_last)
            parts.append(module(inputs).float().cpu().numpy())
            advance(len(chosen))
    features = np.concatenate(parts)
    if not np.isfinite(features).all():
        raise InputError(f"encoder {encoder.name!r} gives NaN or infinite features; train it again")
    return features


def _per_channel(values: list[float], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device).view(1, -1, 1, 1)
