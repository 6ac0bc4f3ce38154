"""Which backend runs: the forced one, the environment's, or the fastest that works here."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from mflag.errors import InputError
from mflag.native import backends


class NoKernelError(InputError):
    """The forced backend works here, but has no kernel of this op for these tensors."""


_ORDER = {"cuda": ("cuda", "triton", "foreach", "reference"), "cpu": ("cpu", "reference")}


def choose_backend(
    forced: str | None, device: str, implementations: Mapping[str, Callable[..., Any]]
) -> str:
    """Return the name of the backend to run.

    ``forced`` is strict. The environment variable ``MFLAG_BACKEND`` is for a whole program, and no
    backend has every op: it is preferred where it has a kernel for these tensors, and elsewhere the
    fastest runs. It must name a backend that runs on this machine.

    Args:
        forced: a name from ``mflag.backends()``; None takes ``MFLAG_BACKEND``, or the fastest.
        device: the device type of the tensors (``cpu``, ``cuda``, ...).
        implementations: the op's backends by name; one that is absent does not take these tensors.

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
