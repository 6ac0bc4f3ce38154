"""Checks of arguments that torch would refuse too, but without saying which and why."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from mflag.errors import InputError
from mflag.native import backends


def is_finite(value: Any) -> bool:
    """Whether ``value`` is one real number, neither NaN nor infinite."""
    try:
        return bool(-math.inf < value < math.inf)  # isfinite takes no symbol of torch.compile
    except (TypeError, ValueError, RuntimeError, OverflowError):  # torch has one for each case
        return False


def check_finite(name: str, value: Any) -> None:
    """Raise InputError unless ``value`` is a finite number."""
    if not is_finite(value):
        raise InputError(f"{name} is {value!r}; give a finite number")


def check_not_negative(name: str, value: Any) -> None:
    """Raise InputError unless ``value`` is a finite number of 0 or more."""
    if not (is_finite(value) and value >= 0):
        raise InputError(f"{name} is {value!r}; give a finite number of 0 or more")


def check_tensor(name: str, value: Any, wanted: str = "a tensor") -> None:
    """Raise InputError unless ``value`` is a dense tensor, or one that stands for it in a trace.

    One with a forward-mode tangent is refused: the ops have backward derivatives only.
    """
    if not isinstance(value, Tensor):
        raise InputError(f"{name} is of type {type(value).__name__}; give {wanted}")
    if value.layout != torch.strided:
        raise InputError(f"{name} has layout {value.layout}; give {wanted}, dense")
    if unpack_dual(value).tangent is not None:  # torch would drop it: a derivative of zero
        raise InputError(f"{name} has a forward-mode tangent; differentiate by backward instead")


def check_backend(backend: Any, *, exists: bool = False) -> None:
    """Raise InputError unless ``backend`` is None or a name, with ``exists`` one that there is.

    Whether it can run is found out with the tensors.
    """
    if backend is None or (isinstance(backend, str) and not exists):
        return
    if not isinstance(backend, str) or backend not in backends():
        raise InputError(f"backend {backend!r} is unknown; choose one of {', '.join(backends())}")
