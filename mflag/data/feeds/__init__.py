"""Feeds: who reads the images. Every feed yields the same batches in the same order."""

from collections.abc import Callable

from mflag.config.feed import FeedConfig
from mflag.data.feeds.batch import Batch, BatchReader, Feed
from mflag.data.feeds.cache import open_cache
from mflag.data.feeds.residency import check_residency
from mflag.data.feeds.torch_loader import TorchFeed
from mflag.errors import InputError

__all__ = ["FEEDS", "Batch", "BatchReader", "Feed", "check_feed", "open_feed"]

FEEDS: dict[str, Callable[[BatchReader, range, FeedConfig], Feed]] = {
    "cache": open_cache,
    "torch": TorchFeed,
}


def check_feed(config: FeedConfig) -> None:
    """Refuse what cannot be opened.

    Raises:
        InputError: unknown feed, negative workers, nothing to read ahead; see ``check_residency``.
    """
    if config.name not in FEEDS:
        raise InputError(f"feed.name is {config.name!r}; choose one of {', '.join(FEEDS)}")
    if config.workers < 0:
        raise InputError(f"feed.workers is {config.workers}; give 0 or more")
    if config.prefetch < 1:
        raise InputError(f"feed.prefetch is {config.prefetch}; give 1 or more")
    check_residency(config)


def open_feed(config: FeedConfig, reader: BatchReader, steps: range) -> Feed:
    """Start reading the batches of ``steps``.

    Raises:
        InputError: see ``check_feed``; or the images cannot be read.
    """
    check_feed(config)
    return FEEDS[config.name](reader, steps, config)
