"""The reader of prepared images, as the training loop opens it."""

import inspect
from typing import Any

import torch

from mflag.data.feeds import BatchReader
from mflag.data.index_stream import IndexStream
from mflag.data.manifest import Prepared


def open_reader(
    prepared: Prepared, stream: IndexStream, size: int, device: torch.device
) -> BatchReader:
    """Return a reader that puts batches where ``device`` takes them fastest."""
    possible: dict[str, Any] = {"pins": device.type == "cuda", "device": device}
    known = inspect.signature(BatchReader).parameters
    keys = {name: value for name, value in possible.items() if name in known}
    return BatchReader(prepared, stream, size, **keys)
