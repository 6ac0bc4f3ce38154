"""The image encoder: a torchvision ResNet without its classifier."""

from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from mflag.errors import InputError
from mflag.models.encoder_file import EMBEDDING_DIM, read_encoder_file


def build_encoder(arch: str, init: str = "random") -> nn.Module:
    """Return an encoder: (B, 3, H, W) normalised images to (B, embedding_dim) pooled latents.

    Args:
        arch: ``resnet18``, ``resnet34`` or ``resnet50`` of torchvision; its ``fc`` is the identity.
        init: ``random``, ``imagenet`` (torchvision's default weights, from its download cache), or
            the path of an ``encoder.safetensors``.

    Raises:
        InputError: unknown arch, ImageNet weights that cannot be had, or a file of another arch.
    """
    if arch not in EMBEDDING_DIM:
        raise InputError(f"model.arch is {arch!r}; choose one of {', '.join(EMBEDDING_DIM)}")
    build: Callable[..., Any] = getattr(torchvision.models, arch)
    encoder: nn.Module = build()
    encoder.fc = nn.Identity()
    if init == "imagenet":
        encoder.load_state_dict(imagenet_weights(arch))
    elif init != "random":
        metadata, tensors = read_encoder_file(init)
        if metadata["arch"] != arch:
            raise InputError(
                f"{init} holds a {metadata['arch']} but model.arch is {arch!r}; set model.arch"
            )
        load_strictly(encoder, tensors, init)
    return encoder


def load_strictly(module: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Load all of ``tensors``, nothing less.

    Raises:
        InputError: a key or a shape differs.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{source} does not fit the model: {reason}") from error


def imagenet_weights(arch: str) -> dict[str, Tensor]:
    """Torchvision's ImageNet weights without ``fc``.

    Raises:
        InputError: they are neither in the download cache nor reachable.
    """
    try:
        weights = torchvision.models.get_model_weights(arch).DEFAULT
        state = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"ImageNet weights of {arch} cannot be had here ({error}); set model.init=random, "
            f"or put torchvision's file into {torch.hub.get_dir()}/checkpoints"
        ) from error
    return {name: value for name, value in state.items() if not name.startswith("fc.")}
