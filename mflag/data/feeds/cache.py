"""Feed ``cache``: decoded images, held on the device where they fit, else read ahead."""

import sys

import torch

from mflag.config.feed import FeedConfig
from mflag.data.feeds.batch import BatchReader, Feed
from mflag.data.feeds.residency import decide_residency
from mflag.data.feeds.resident import ResidentFeed, load_images
from mflag.data.feeds.streamed import StreamedFeed
from mflag.runtime.memory import available_memory


def open_cache(reader: BatchReader, steps: range, config: FeedConfig) -> Feed:
    """Open the one of both feeds that free memory allows, and say which on stderr.

    Raises:
        InputError: the images cannot be read.
    """
    free = available_memory(reader.device)
    residency = decide_residency(config, reader.device, reader.held, free)
    if residency.remark:
        _say(residency.remark)
    images = _load(reader) if residency.holds and len(steps) else None
    if images is None:
        return StreamedFeed(reader, steps, config.prefetch)
    return ResidentFeed(reader, steps, images)


def _load(reader: BatchReader) -> torch.Tensor | None:
    """Load all images, or say that the memory was taken meanwhile."""
    try:
        return load_images(reader)
    except (torch.OutOfMemoryError, MemoryError):
        pass  # what was loaded is let go with the exception's frames
    if reader.device.type == "cuda":
        torch.cuda.empty_cache()
    _say(f"out of memory on {reader.device} while the images were loaded: they are read ahead")
    return None


def _say(remark: str) -> None:
    print(f"feed: {remark}", file=sys.stderr)
