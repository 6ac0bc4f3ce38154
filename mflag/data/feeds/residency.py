"""Whether the images of a run are held where it computes: decided by free memory."""

import math
from dataclasses import dataclass

import torch

from mflag.config.feed import FeedConfig
from mflag.errors import InputError

_CHOICES = ("auto", "true", "false")
_GB = 10**9


@dataclass(frozen=True)
class Residency:
    """A decision.

    Attributes:
        holds: whether to hold the images; else they are read ahead.
        remark: the figures behind it, a line for people; "" where nothing was to decide.
    """

    holds: bool
    remark: str


@dataclass(frozen=True)
class Held:
    """The images that may be held.

    Attributes:
        count: images.
        needed: bytes of them all, as they are handed out.
        on_disk: bytes of them all, as they are stored.
    """

    count: int
    needed: int
    on_disk: int


def check_residency(config: FeedConfig) -> None:
    """Refuse values that mean nothing.

    Raises:
        InputError: unknown ``feed.resident``, or ``feed.reserve_gb`` below 0.
    """
    if config.resident.lower() not in _CHOICES:
        raise InputError(
            f"feed.resident is {config.resident!r}; choose one of {', '.join(_CHOICES)}"
        )
    if not 0 <= config.reserve_gb < math.inf:
        raise InputError(f"feed.reserve_gb is {config.reserve_gb}; give 0 or more")


def decide_residency(
    config: FeedConfig, device: torch.device, held: Held, free: int | None
) -> Residency:
    """Decide whether the images are held on ``device``.

    ``auto`` holds them on a GPU that has room for them and ``feed.reserve_gb`` besides. On a CPU it
    reads ahead: a second copy would only take room from the page cache, which holds the file.
    ``true`` asks no reserve. What does not fit is read ahead, and the remark says so.

    Args:
        config: ``resident`` and ``reserve_gb``.
        device: where training computes.
        held: the images.
        free: bytes that can be had on the device; None: unknown, then ``true`` is taken at its
            word.
    """
    wanted = config.resident.lower()
    if wanted == "false":
        return Residency(False, "")
    if wanted == "auto" and device.type == "cpu":
        return Residency(False, _page_cache_remark(held, free))
    reserve = round(config.reserve_gb * _GB) if wanted == "auto" else 0
    holds = free is None or held.needed + reserve <= free
    kept = f", {_gb(reserve)} kept for the model (feed.reserve_gb)" if reserve else ""
    room = "" if free is None else f"; {_gb(free)} free{kept}"
    images = f"{held.count:,} images ({_gb(held.needed)})"
    if holds:
        return Residency(True, f"{images} are held on {device}{room}")
    return Residency(False, f"{images} do not fit on {device} and are read ahead{room}")


def _page_cache_remark(held: Held, free: int | None) -> str:
    if free is None or held.on_disk <= free:
        return ""
    return (
        f"{held.count:,} images ({_gb(held.on_disk)}) are read from disk in every epoch: the page "
        f"cache can have {_gb(free)}"
    )


def _gb(size: int) -> str:
    return f"{size / _GB:.3g} GB"
