"""Checkpoints: whole or absent, checksummed, the newest few kept."""

import hashlib
import io
import re
import sys
from pathlib import Path
from typing import Any

import torch

from mflag.errors import InputError
from mflag.runtime.atomic_write import atomic_write

_MAGIC = b"MFLAGCK1"  # then 32 bytes of sha256, then what torch.save wrote
_NAME = re.compile(r"step_(\d{9})\.ckpt")


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Write ``step_NNNNNNNNN.ckpt`` and delete all but the newest ``keep``.

    Args:
        folder: made when missing.
        step: steps done.
        state: tensors, numbers, strings, lists and dicts.
        keep: how many stay, at least 1.
    """
    content = state_to_bytes(state)
    path = folder / f"step_{step:09d}.ckpt"
    with atomic_write(path) as file:
        file.write(_MAGIC + hashlib.sha256(content).digest())
        file.write(content)
    for old in list_checkpoints(folder)[max(keep, 1) :]:
        old.unlink(missing_ok=True)
    return path


def step_of(path: Path) -> int:
    """The steps done at a checkpoint, from its name."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        raise InputError(f"{path} is no checkpoint of mflag.train by its name")
    return int(found.group(1))


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, newest first."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if _NAME.fullmatch(p.name)), reverse=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read one checkpoint, tensors on the CPU.

    Raises:
        InputError: it is missing, cut short, or its checksum differs.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    head = len(_MAGIC) + 32
    if content[: len(_MAGIC)] != _MAGIC:
        raise InputError(f"{path} is no checkpoint of mflag.train")
    if hashlib.sha256(content[head:]).digest() != content[len(_MAGIC) : head]:
        raise InputError(f"checkpoint {path} is damaged: its checksum differs")
    return state_from_bytes(content[head:])


def state_to_bytes(state: dict[str, Any]) -> memoryview:
    """Tensors, numbers, strings, lists and dicts as bytes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getbuffer()


def state_from_bytes(content: bytes | memoryview) -> dict[str, Any]:
    """Read what ``state_to_bytes`` wrote, tensors on the CPU; other objects are refused."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def newest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Read the newest whole checkpoint; a damaged one is named on stderr and passed over.

    Raises:
        InputError: there are checkpoints, but none is whole.
    """
    paths = list_checkpoints(folder)
    for path in paths:
        try:
            return path, read_checkpoint(path)
        except InputError as error:
            print(f"warning: {error}; trying the one before", file=sys.stderr)
    if paths:
        raise InputError(f"no checkpoint in {folder} is whole; start again with overwrite=true")
    return None
