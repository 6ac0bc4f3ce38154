"""What an export is, and what it did."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Written:
    """A finished export.

    Attributes:
        checked: what was done to prove it, in words.
        usage: lines of Python that load the file.
    """

    checked: str
    usage: list[str]


@dataclass(frozen=True)
class Format:
    """A way to export.

    Attributes:
        export: writes the file and proves it: (encoder, out) to what was done.
        suffixes: that ``out`` may have; the first is the default.
        purpose: what takes the file, for ``--help``.
        companions: suffixes of the files that are written beside ``out``, by its name.
    """

    export: Callable[[Path, Path], Written]
    suffixes: tuple[str, ...]
    purpose: str
    companions: tuple[str, ...] = ()
