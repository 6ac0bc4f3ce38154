"""Launcher ``joblib``: threads or processes of this machine."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import joblib

from mflag.config.launcher import LauncherConfig
from mflag.data.launchers.launcher import WorkersLostError
from mflag.errors import InputError


class JoblibPool:
    """Keeps two tasks a worker under way."""

    shares_disk = True

    def __init__(self, config: LauncherConfig, workers: int | None, prefer: str) -> None:
        """Refuse the keys of other launchers.

        Args:
            config: of the launcher.
            workers: None takes one a CPU.
            prefer: ``threads`` or ``processes``.

        Raises:
            InputError: a key that joblib does not read.
        """
        for key in ("address", "retries"):
            if (value := getattr(config, key)) is not None:
                raise InputError(
                    f"launcher.{key} is {value!r}, but launcher=joblib does not read it; leave it "
                    "out, or set launcher=ray"
                )
        self._workers = workers or os.cpu_count() or 1
        self._prefer = prefer

    def run(self, work: Callable[[Any], Any], tasks: Iterable[Any], count: int) -> Iterator[Any]:
        """Yield ``work(task)`` of each task, in any order."""
        calls = (joblib.delayed(work)(task) for task in tasks)
        workers = max(min(self._workers, count), 1)
        pool = joblib.Parallel(workers, prefer=self._prefer, return_as="generator_unordered")
        try:
            yield from pool(calls)
        except BrokenProcessPool as error:
            raise WorkersLostError(
                "a worker process was killed, often for want of memory; what is done stays: start "
                f"again to go on, with fewer workers than {self._workers}"
            ) from error
