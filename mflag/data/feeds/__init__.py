"""Feeds: who reads the images. Every feed yields the same batches in the same order."""

from collections.abc import Callable

from mflag.config.feed import FeedConfig
from mflag.data.feeds.batch import Batch, BatchReader, Feed
from mflag.data.feeds.cache import CacheFeed
from mflag.data.feeds.torch_loader import TorchFeed
from mflag.errors import InputError

__all__ = ["FEEDS", "Batch", "BatchReader", "Feed", "open_feed"]

FEEDS: dict[str, Callable[[BatchReader, range, FeedConfig], Feed]] = {
    "cache": CacheFeed,
    "torch": TorchFeed,
}


def open_feed(config: FeedConfig, reader: BatchReader, steps: range) -> Feed:
    """Start reading the batches of ``steps``.

    Raises:
        InputError: ``feed.name`` is unknown.
    """
    if config.name not in FEEDS:
        raise InputError(f"feed.name is {config.name!r}; choose one of {', '.join(FEEDS)}")
    return FEEDS[config.name](reader, steps, config)
