"""``encoder.safetensors``: what is in it, writing and reading."""

import json
from pathlib import Path

from torch import Tensor, nn

from mflag.errors import InputError
from mflag.models.grey_stem import on_three_channels
from mflag.runtime.tensor_file import read_tensors, write_tensors

FORMAT = 1
EMBEDDING_DIM = {"resnet18": 512, "resnet34": 512, "resnet50": 2048}
# Grey values 0..1 to -1..1, in each of the three equal channels: equal, or grey_stem.py is wrong.
IMAGE_MEAN = 0.5
IMAGE_STD = 0.5
METADATA = {"format", "arch", "image_size", "mean", "std", "embedding_dim"}


def save_encoder(
    path: Path | str,
    encoder: nn.Module,
    arch: str,
    image_size: int,
    dataset: str | None = None,
) -> None:
    """Write an encoder under torchvision's names, for three channels; equal weights, equal bytes.

    Args:
        path: the file to write.
        encoder: the module of ``build_encoder``, on any device.
        arch: its name.
        image_size: height and width of the training images, pixels.
        dataset: name of what it was trained on, as in ``dataset=NAME``; None leaves it out.
    """
    metadata = {
        "format": str(FORMAT),
        "arch": arch,
        "image_size": str(image_size),
        "mean": json.dumps([IMAGE_MEAN] * 3),
        "std": json.dumps([IMAGE_STD] * 3),
        "embedding_dim": str(EMBEDDING_DIM[arch]),
    }
    if dataset is not None:
        metadata["dataset"] = dataset
    write_tensors(path, on_three_channels(in_float32(encoder.state_dict())), metadata)


def in_float32(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with float32 in place of every other float dtype."""
    return {name: v.float() if v.is_floating_point() else v for name, v in tensors.items()}


def read_encoder_file(path: Path | str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return metadata and tensors of an ``encoder.safetensors``.

    Raises:
        InputError: the file is missing, junk, of another format or architecture.
    """
    path = Path(path)
    missing = f"encoder file {path} is missing; give an encoder.safetensors of mflag.train"
    metadata, tensors = read_tensors(path, missing)
    found = metadata.get("format")
    if found != str(FORMAT) or not METADATA <= metadata.keys():
        raise InputError(
            f"{path} is no encoder of mflag.train: its format is {found!r}, not '{FORMAT}'"
        )
    if metadata["arch"] not in EMBEDDING_DIM:
        known = ", ".join(EMBEDDING_DIM)
        raise InputError(f"{path} holds arch {metadata['arch']!r}; this version knows {known}")
    return metadata, tensors
