"""Feeds: who reads the images. Every feed yields the same batches in the same order."""

from collections.abc import Callable

from mflag.config.feed import FeedConfig
from mflag.data.feeds.batch import Batch, BatchReader, Feed
from mflag.data.feeds.cache import open_cache
from mflag.data.feeds.dali import DaliFeed, check_dali
from mflag.data.feeds.residency import check_residency
from mflag.data.feeds.torch_loader import TorchFeed
from mflag.data.manifest import Prepared
from mflag.data.original_files import OriginalFiles
from mflag.errors import InputError

__all__ = ["FEEDS", "Batch", "BatchReader", "Feed", "check_feed", "check_feed_data", "open_feed"]

FEEDS: dict[str, Callable[[BatchReader, range, FeedConfig], Feed]] = {
    "cache": open_cache,
    "dali": DaliFeed,
    "torch": TorchFeed,
}


def check_feed(config: FeedConfig) -> None:
    """Refuse what cannot be opened.

    Raises:
        InputError: unknown feed, a wrong number of workers, nothing to read ahead, a key that
            the feed does not read, or DALI is missing; see ``check_residency``.
    """
    if config.name not in FEEDS:
        raise InputError(f"feed.name is {config.name!r}; choose one of {', '.join(FEEDS)}")
    if config.workers < 0:
        raise InputError(f"feed.workers is {config.workers}; give 0 or more")
    if config.prefetch < 1:
        raise InputError(f"feed.prefetch is {config.prefetch}; give 1 or more")
    if config.name == "dali":
        check_dali(config)
    elif config.root is not None:
        raise InputError(f"feed.root is {config.root!r}, but only feed=dali reads original files")
    check_residency(config)


def check_feed_data(config: FeedConfig, prepared: Prepared) -> None:
    """Refuse data that the feed cannot read.

    Raises:
        InputError: ``feed=dali``, and the original files are unknown or elsewhere.
    """
    if config.name == "dali":
        OriginalFiles(prepared, config.root)


def open_feed(config: FeedConfig, reader: BatchReader, steps: range) -> Feed:
    """Start reading the batches of ``steps``.

    Raises:
        InputError: see ``check_feed``; or the images or the first files cannot be read.
    """
    check_feed(config)
    return FEEDS[config.name](reader, steps, config)
