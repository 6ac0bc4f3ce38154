"""What every launcher does."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from mflag.errors import InputError


class WorkersLostError(InputError):
    """Workers died and the work cannot go on; what is done stays."""


class Launcher(Protocol):
    """Runs tasks by workers.

    Attributes:
        shares_disk: workers write the files of this machine; else they hand back what to write.
    """

    shares_disk: bool

    def run(self, work: Callable[[Any], Any], tasks: Iterable[Any], count: int) -> Iterator[Any]:
        """Yield ``work(task)`` of each task, in any order; few tasks are under way at a time.

        Args:
            work: picklable; its exceptions are raised here.
            tasks: picklable; taken only when a worker is about to be free.
            count: of the tasks; no more workers are started.

        Raises:
            WorkersLostError: workers died, more often than they are replaced.
        """
        ...
