"""Safetensors files whose bytes depend on their content alone."""

import json
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

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
