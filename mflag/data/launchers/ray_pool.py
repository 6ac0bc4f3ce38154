"""Launcher ``ray``: workers on any machine of a Ray cluster, or a Ray of this machine alone."""

import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mflag.config.launcher import LauncherConfig
from mflag.data.launchers.launcher import WorkersLostError
from mflag.errors import InputError

UNDER_WAY = 2  # tasks a worker: one in work, one waiting; bounds what lies in memory
_ANSWER_S = 5.0
_STORE_BYTES = 128 << 20  # of a Ray of our own; its default is 30 % of the memory
_STORE_BYTES_A_WORKER = 8 << 20


class RayPool:
    """Sends tasks to a cluster; Ray redoes those whose worker dies."""

    shares_disk = False

    def __init__(self, config: LauncherConfig, workers: int | None, prefer: str) -> None:
        """Find Ray, without connecting.

        Args:
            config: of the launcher.
            workers: tasks at a time; None takes one a CPU of the cluster.
            prefer: not read; Ray has processes only.

        Raises:
            InputError: Ray is not installed or not at the address, or ``launcher.retries`` is
                negative.
        """
        self._retries = 3 if config.retries is None else config.retries
        if self._retries < 0:
            raise InputError(f"launcher.retries is {self._retries}; give 0 or more")
        self._ray = _import_ray()
        self._address = config.address or os.environ.get("RAY_ADDRESS")
        self._workers = workers
        if self._address is not None:
            _check_address(self._address)

    def run(self, work: Callable[[Any], Any], tasks: Iterable[Any], count: int) -> Iterator[Any]:
        """Yield ``work(task)`` of each task, in any order."""
        is_ours = not self._ray.is_initialized()  # else a program that has a Ray called us
        if is_ours:
            self._connect(count)
        try:
            yield from self._run(work, tasks)
        finally:
            if is_ours:
                self._ray.shutdown()

    def _connect(self, count: int) -> None:
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        if self._address is None:
            workers = max(min(self._workers or os.cpu_count() or 1, count), 1)
            store = _STORE_BYTES + workers * _STORE_BYTES_A_WORKER
            # "local": never a cluster that someone else started on this machine.
            self._ray.init("local", num_cpus=workers, object_store_memory=store, **quiet)
            return
        del quiet["include_dashboard"]
        try:
            self._ray.init(self._address, **quiet)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise _no_answer(self._address, error) from error

    def _run(self, work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        ray = self._ray
        workers = self._workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
        call = ray.remote(num_cpus=1, max_retries=self._retries)(_call)
        shared = ray.put(work)  # once a machine, not once a task
        under_way: list[Any] = []
        for task in tasks:
            under_way.append(call.remote(shared, task))
            if len(under_way) >= UNDER_WAY * workers:
                yield self._take(under_way)
        while under_way:
            yield self._take(under_way)

    def _take(self, under_way: list[Any]) -> Any:
        errors = self._ray.exceptions
        (done,), under_way[:] = self._ray.wait(under_way, num_returns=1)
        try:
            return self._ray.get(done)
        except errors.RayTaskError as error:  # what the work itself raised
            raise (error.cause or error) from None
        except errors.RayError as error:
            raise WorkersLostError(
                f"workers died {self._retries + 1} times on one part "
                f"({type(error).__name__}), often for want of memory; what is done stays: start "
                "again to go on, with fewer workers or a higher launcher.retries"
            ) from error


def _check_address(address: str) -> None:
    """Refuse a dead address at once; Ray itself tries for two minutes."""
    found = re.search(r"([^/:\s]+):(\d{1,5})$", address)
    if found is None:  # "auto" and the like
        return
    try:
        socket.create_connection((found[1], int(found[2])), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise _no_answer(address, error) from error


def _no_answer(address: str, error: Exception) -> InputError:
    return InputError(
        f"launcher.address (or RAY_ADDRESS) is {address!r}, where no Ray answers ({error}); start "
        "one with `ray start --head`, or leave the address out"
    )


def _call(work: Callable[[Any], Any], task: Any) -> Any:
    return work(task)


def _import_ray() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to anyone
    os.environ["RAY_IGNORE_UNHANDLED_ERRORS"] = "1"  # the first error ends the run, and is enough
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "launcher is 'ray', which is not installed; pip install \"mflag[cluster]\", or leave "
            "launcher=ray out"
        ) from error
    return ray
