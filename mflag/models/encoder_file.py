"""``encoder.safetensors``: what is in it, writing and reading."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mflag.errors import InputError
from mflag.runtime.atomic_write import atomic_write

FORMAT = 1
EMBEDDING_DIM = {"resnet18": 512, "resnet34": 512, "resnet50": 2048}
# Grey values 0..1 to -1..1, in each of the three equal channels.
IMAGE_MEAN = 0.5
IMAGE_STD = 0.5


def save_encoder(path: Path | str, encoder: nn.Module, arch: str, image_size: int) -> None:
    """Write an encoder under torchvision's names; equal weights give equal bytes.

    Args:
        path: the file to write.
        encoder: the module of ``build_encoder``, on any device.
        arch: its name.
        image_size: height and width of the training images, pixels.
    """
    metadata = {
        "format": str(FORMAT),
        "arch": arch,
        "image_size": str(image_size),
        "mean": json.dumps([IMAGE_MEAN] * 3),
        "std": json.dumps([IMAGE_STD] * 3),
        "embedding_dim": str(EMBEDDING_DIM[arch]),
    }
    save_tensors(path, encoder.state_dict(), metadata)


def save_tensors(path: Path | str, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors as safetensors, floats in float32; equal content gives equal bytes."""
    plain = {
        name: value.detach()
        .to("cpu", torch.float32 if value.is_floating_point() else value.dtype)
        .contiguous()
        for name, value in tensors.items()
    }
    with atomic_write(path) as file:
        file.write(_sort_metadata(save(plain, metadata)))


def read_encoder_file(path: Path | str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return metadata and tensors of an ``encoder.safetensors``.

    Raises:
        InputError: the file is missing, junk, of another format or architecture.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"encoder file {path} is missing; give an encoder.safetensors of mflag.train"
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no safetensors file ({error})") from error
    found = metadata.get("format")
    if found != str(FORMAT) or "arch" not in metadata:
        raise InputError(
            f"{path} is no encoder of mflag.train: its format is {found!r}, not '{FORMAT}'"
        )
    if metadata["arch"] not in EMBEDDING_DIM:
        known = ", ".join(EMBEDDING_DIM)
        raise InputError(f"{path} holds arch {metadata['arch']!r}; this version knows {known}")
    return metadata, tensors


def _sort_metadata(content: bytes) -> bytes:
    """The same file with its metadata in alphabetical order: the writer's hash map has none."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]
