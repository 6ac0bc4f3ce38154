"""Launchers: who runs the tasks of ``prepare``. With every launcher the bytes are the same."""

from collections.abc import Callable

from mflag.config.launcher import LauncherConfig
from mflag.data.launchers.joblib_pool import JoblibPool
from mflag.data.launchers.launcher import Launcher, WorkersLostError
from mflag.data.launchers.ray_pool import RayPool
from mflag.errors import InputError

__all__ = ["LAUNCHERS", "Launcher", "WorkersLostError", "open_launcher"]

LAUNCHERS: dict[str, Callable[[LauncherConfig, int | None, str], Launcher]] = {
    "joblib": JoblibPool,
    "ray": RayPool,
}


def open_launcher(config: LauncherConfig, workers: int | None, prefer: str) -> Launcher:
    """Choose a launcher; nothing starts before its ``run``.

    Args:
        config: which one, and how.
        workers: tasks at a time; None takes one a CPU.
        prefer: ``threads`` or ``processes``, where the launcher has both.

    Raises:
        InputError: unknown, not installed, or given another launcher's keys.
    """
    if config.name not in LAUNCHERS:
        raise InputError(f"launcher.name is {config.name!r}; choose one of {', '.join(LAUNCHERS)}")
    return LAUNCHERS[config.name](config, workers, prefer)
