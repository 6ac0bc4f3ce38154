"""Peers that are separate packages."""

import importlib
from typing import Any


def installed(module: str, name: str) -> Any:
    """Return a class or function of another package.

    Raises:
        ImportError: the package is not installed, or is another one of the same name.
    """
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        raise ImportError(f"{module} has no {name}: another package of that name") from None
