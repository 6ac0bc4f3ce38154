"""Plain state dicts: written as .pth or .safetensors, and proved to load."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from mflag.errors import InputError
from mflag.models.encoder_file import read_encoder_file
from mflag.runtime.atomic_write import atomic_write, sync_folder
from mflag.runtime.tensor_file import write_tensors

SUFFIXES = (".pth", ".pt", ".safetensors")


def export_state_dict(encoder: Path, out: Path, *proofs: Callable[[Path, Path], None]) -> str:
    """Write an encoder's tensors under torchvision's names; the file appears once it is proved.

    Args:
        encoder: an ``encoder.safetensors``.
        out: ``.pth``, ``.pt`` or ``.safetensors``.
        proofs: called with the encoder and the written file; each raises where they differ.

    Returns:
        The architecture.

    Raises:
        InputError: the encoder cannot be read, or ``out`` cannot be written.
    """
    check_suffix(out)
    metadata, tensors = read_encoder_file(encoder)
    with published_after_proof(out) as candidate:
        write_state_dict(tensors, candidate, metadata)
        for prove in proofs:
            prove(encoder, candidate)
    return metadata["arch"]


def load_call(path: Path) -> str:
    """The expression that reads the file."""
    if path.suffix == ".safetensors":
        return f"safetensors.torch.load_file({str(path)!r})"
    return f"torch.load({str(path)!r}, weights_only=True)"


def write_state_dict(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write tensors in the way that the suffix of ``path`` says.

    Args:
        tensors: by torchvision's names.
        path: ``.safetensors``, or else ``torch.save`` of the plain dict.
        metadata: kept by safetensors only.

    Raises:
        InputError: the file cannot be written.
    """
    if path.suffix == ".safetensors":
        write_tensors(path, tensors, metadata)
        return
    with atomic_write(path) as file:
        torch.save(tensors, file)


def check_suffix(out: Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """Refuse a name that does not say how to write the file.

    Raises:
        InputError: with the suffixes there are.
    """
    if out.suffix not in suffixes:
        raise InputError(f"out is {str(out)!r}; let it end in {' or '.join(suffixes)}")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read what ``write_state_dict`` wrote."""
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, weights_only=True)


@contextmanager
def published_after_proof(out: Path, *more: Path) -> Iterator[Path]:
    """Yield a name in a folder beside ``out``; the block's files move here when it ends well.

    Args:
        out: the file that the block writes under the yielded name.
        more: further files that the block writes beside it, by their final names.

    Raises:
        InputError: ``out`` cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".export.", suffix=".part", dir=out.parent)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}; choose another out=") from error
    with folder as name:
        yield Path(name) / out.name
        for path in (*more, out):
            os.replace(Path(name) / path.name, path)
    sync_folder(out.parent)
