"""Safetensors files: written so that their bytes depend on their content alone, and read."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mflag.errors import InputError
from mflag.runtime.atomic_write import atomic_write


def write_tensors(path: Path | str, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors, each in its dtype; equal content gives equal bytes.

    Args:
        path: the file to write.
        tensors: by name, on any device.
        metadata: strings by name; written in alphabetical order, where the library's own writer
            leaves the order of a hash map.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    content = save(plain, metadata)
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.write(memoryview(content)[8 + size :])


def read_tensors(path: Path, missing: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the metadata and all tensors of a file, on the CPU.

    Args:
        path: the file to read.
        missing: what to say when there is none.

    Raises:
        InputError: it is missing, or no safetensors file.
    """
    if not path.is_file():
        raise InputError(missing)
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no safetensors file ({error})") from error
