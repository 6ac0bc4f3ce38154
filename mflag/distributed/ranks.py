"""Which process this is, as torchrun says it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from mflag.errors import InputError

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Ranks:
    """This process among all.

    Attributes:
        rank: from 0; rank 0 writes the files and speaks.
        world_size: number of processes.
        local_rank: from 0 on this machine; chooses the GPU.
        local_world_size: processes on this machine.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process."""
        return self.world_size == 1


ALONE = Ranks()


def read_ranks(environment: Mapping[str, str] = os.environ) -> Ranks:
    """Read what torchrun set; without ``WORLD_SIZE`` above 1 there is one process.

    Raises:
        InputError: a variable is missing or no number that fits.
    """
    if environment.get("WORLD_SIZE", "1") == "1":
        return ALONE
    world_size = _number(environment, "WORLD_SIZE", 1, None)
    missing = [name for name in _NAMES if name not in environment]
    if missing:
        raise InputError(
            f"WORLD_SIZE is {world_size}, but {', '.join(missing)} is not set; start with "
            f"torchrun --nproc-per-node={world_size} -m mflag.train"
        )
    local = _number(environment, "LOCAL_WORLD_SIZE", 1, world_size)
    return Ranks(
        rank=_number(environment, "RANK", 0, world_size - 1),
        world_size=world_size,
        local_rank=_number(environment, "LOCAL_RANK", 0, local - 1),
        local_world_size=local,
    )


def _number(environment: Mapping[str, str], name: str, low: int, high: int | None) -> int:
    text = environment[name]
    if not text.isdecimal() or int(text) < low or (high is not None and int(text) > high):
        upper = "more" if high is None else str(high)
        raise InputError(f"{name} is {text!r}; torchrun sets it to {low} to {upper}")
    return int(text)
