"""Which backend runs: the forced one, the environment's, or the fastest that works here."""

import functools
import os
from collections.abc import Collection, Iterable

from mflag.errors import InputError
from mflag.native import backends


class NoKernelError(InputError):
    """The forced backend works here, but has no kernel of this op for these tensors."""


def names_on(device: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of ``names`` whose kernels are for tensors on ``device``, a device type.

    Triton's are for a GPU, and for the CPU in the interpreter.
    """
    is_interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    devices = {"cpu": ("cpu",), "cuda": ("cuda",), "triton": ("cuda", *["cpu"] * is_interpreted)}
    return tuple(name for name in names if device in devices.get(name, (device,)))


_ORDER = {"cuda": ("cuda", "triton", "foreach", "reference"), "cpu": ("cpu", "reference")}


def choose_backend(forced: str | None, device: str, implementations: Collection[str]) -> str:
    """Return the name of the backend to run.

    ``forced`` is strict. The environment variable ``MFLAG_BACKEND`` is for a whole program, and no
    backend has every op: it is preferred where it has a kernel for these tensors, and elsewhere the
    fastest runs. It must name a backend that runs on this machine.

    Args:
        forced: a name from ``mflag.backends()``; None takes ``MFLAG_BACKEND``, or the fastest.
        device: the device type of the tensors (``cpu``, ``cuda``, ...).
        implementations: the names of the op's backends; one that is absent does not take these
            tensors.

    Raises:
        InputError: the backend that is named is unknown or cannot run here.
        NoKernelError: the forced one lacks this op.
    """
    preferred = os.environ.get("MFLAG_BACKEND")
    able = backends()
    for name, source in ((forced, ""), (None if forced else preferred, " (MFLAG_BACKEND)")):
        if name and name not in able:
            raise InputError(
                f"backend {name!r}{source} is unknown; choose one of {', '.join(able)}"
            )
        if name and able[name] is not True:
            raise InputError(f"backend {name!r}{source} cannot run here: {able[name]}")
    if forced and forced not in implementations:
        raise NoKernelError(
            f"backend {forced!r} does not take these tensors (on {device}); "
            f"choose one of {', '.join(implementations)}"
        )
    if forced:
        return forced
    if preferred and preferred in implementations:
        return preferred
    order = _ORDER.get(device, ("foreach", "reference"))
    return next(name for name in order if name in implementations and able[name] is True)


def choose_by_name(forced: str | None, device: str, names: tuple[str, ...]) -> str:
    """Return what ``choose_backend`` does, from memory where it was asked before.

    Asking what runs here costs 150 us, 5 times the rest of a call's Python.

    Args:
        forced: as in ``choose_backend``.
        device: as in ``choose_backend``.
        names: the backends that take these tensors.

    Raises:
        InputError: as ``choose_backend``.
    """
    return _remembered(forced or None, os.environ.get("MFLAG_BACKEND"), device, names)


@functools.cache
def _remembered(
    forced: str | None, preferred: str | None, device: str, names: tuple[str, ...]
) -> str:
    """``preferred``, the environment's, is only here to be part of the cache's key."""
    return choose_backend(forced, device, names)
