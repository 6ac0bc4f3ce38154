"""Which rank gets which study at which step: a pure function of (seed, epoch, rank, world size)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mflag.errors import InputError


@dataclass(frozen=True)
class IndexStream:
    """The order of the studies of a run; to resume is to ask for a later step.

    Attributes:
        size: studies in the training split.
        batch_size: studies a step and rank; the rest of an epoch that fills no step is dropped.
        seed: of the order.
        rank: this process.
        world_size: number of processes.
    """

    size: int
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        """Refuse a batch that the training split cannot fill.

        Raises:
            InputError: batch_size < 1, or batch_size · world_size > size.
        """
        if self.batch_size < 1:
            raise InputError(f"train.batch_size is {self.batch_size}; give 1 or more")
        if self.global_batch_size > self.size:
            raise InputError(
                f"train.batch_size is {self.batch_size} on {self.world_size} processes, but the "
                f"training split has {self.size} studies; give "
                f"{self.size // self.world_size} or less"
            )

    @property
    def global_batch_size(self) -> int:
        """Studies a step, all ranks together."""
        return self.batch_size * self.world_size

    @property
    def steps_per_epoch(self) -> int:
        """Full steps an epoch."""
        return self.size // self.global_batch_size

    def epoch_of(self, step: int) -> int:
        """The epoch, from 0, of a step, from 0."""
        return step // self.steps_per_epoch

    def positions(self, step: int) -> np.ndarray:
        """Return the places in the training split of this rank's batch, (batch_size,) int64.

        Args:
            step: from 0, counted over the whole run.
        """
        epoch, within = divmod(step, self.steps_per_epoch)
        begin = within * self.global_batch_size + self.rank * self.batch_size
        return _epoch_order(self.size, self.seed, epoch)[begin : begin + self.batch_size]


@lru_cache(maxsize=2)  # the reader may be one epoch ahead of the loop
def _epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return generator.permutation(size)
