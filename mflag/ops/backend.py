"""Which backend runs: the forced one, the environment's, or the fastest that works here."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from mflag.errors import InputError
from mflag.native import backends


class NoKernelError(InputError):
    """The forced backend works here, but has no kernel of this op for these tensors."""


_ORDER = {"cuda": ("cuda", "triton", "reference"), "cpu": ("cpu", "reference")}


def choose_backend(
    forced: str | None, device: str, implementations: Mapping[str, Callable[..., Any]]
) -> str:
    """Return the name of the backend to run.

    Args:
        forced: a name from ``mflag.backends()``; None takes ``MFLAG_BACKEND``, or the fastest.
        device: the device type of the tensors (``cpu``, ``cuda``, ...).
        implementations: the op's backends by name; one that is absent does not take these tensors.

    Raises:
        InputError: the forced backend is unknown or cannot run here.
        NoKernelError: it lacks this op.
    """
    forced = forced or os.environ.get("MFLAG_BACKEND") or None
    able = backends()
    if not forced:
        order = _ORDER.get(device, ("reference",))
        return next(name for name in order if name in implementations and able[name] is True)
    if forced not in able:
        raise InputError(f"backend {forced!r} is unknown; choose one of {', '.join(able)}")
    if able[forced] is not True:
        raise InputError(f"backend {forced!r} cannot run here: {able[forced]}")
    if forced not in implementations:
        raise NoKernelError(
            f"backend {forced!r} does not take these tensors; "
            f"choose one of {', '.join(implementations)}"
        )
    return forced
