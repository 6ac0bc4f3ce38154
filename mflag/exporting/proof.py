"""Proofs that a written file gives the features of the encoder it came from."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from mflag.exporting.state_dict_file import read_state_dict
from mflag.models.encoder import build_encoder
from mflag.models.encoder_file import read_encoder_file
from mflag.models.load import load_encoder

TOLERANCE = 1e-5  # of float32 features; times the largest feature where that is above 1


def prove_torchvision(source: Path, written: Path) -> None:
    """Compare all tensors, load ``written`` strictly into torchvision's network, compare features.

    Raises:
        InputError: the source does not hold what its metadata say.
        RuntimeError: the file does not load, or something differs: a bug, not the user's doing.
    """
    load_encoder(source)
    metadata, tensors = read_encoder_file(source)
    state = read_state_dict(written)
    different = [name for name, value in tensors.items() if not torch.equal(state[name], value)]
    if different:
        raise RuntimeError(f"{different[0]} of {written} differs from that of {source}")
    with torch.device("meta"):  # no time for an initialisation that is overwritten
        network = build_encoder(metadata["arch"]).eval()
    network.load_state_dict(state, strict=True, assign=True)
    require_equal_features(source, network)


def require_equal_features(
    source: Path,
    embed: Callable[[Tensor], Tensor],
    normalises: bool = False,
) -> None:
    """Compare the features of two images, noise of the training size, with the source's.

    Args:
        source: an ``encoder.safetensors``.
        embed: (2, 3, H, W) float32 images to (2, embedding_dim).
        normalises: ``embed`` takes images of 0..1; else normalised ones.

    Raises:
        InputError: the source does not hold what its metadata say.
        RuntimeError: the features differ.
    """
    original = load_encoder(source)
    with torch.inference_mode():
        images = noise(source)
        prepared = normalised(images, read_encoder_file(source)[0])
        expected, found = original(prepared), embed(images if normalises else prepared)
    difference = (found - expected).abs().max().item()
    if not difference <= TOLERANCE * max(1.0, expected.abs().max().item()):
        raise RuntimeError(f"features differ from those of {source} by {difference:.2g}")


def noise(source: Path) -> Tensor:
    """Two images of the encoder's training size: (2, 3, H, W) in 0..1, channels not equal."""
    metadata, _ = read_encoder_file(source)
    size = int(metadata["image_size"])
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def normalised(images: Tensor, metadata: dict[str, str]) -> Tensor:
    """(B, 3, H, W) images of 0..1 as the encoder takes them."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in normalisation(metadata))
    return (images - mean) / std


def normalisation(metadata: dict[str, str]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the three channels of 0..1 images."""
    return json.loads(metadata["mean"]), json.loads(metadata["std"])


def pooled(deepest: Tensor) -> Tensor:
    """Global average pool: (B, C, h, w) to (B, C)."""
    return nn.functional.adaptive_avg_pool2d(deepest, 1).flatten(1)
