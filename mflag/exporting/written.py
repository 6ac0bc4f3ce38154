"""What an export did."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Written:
    """A finished export.

    Attributes:
        checked: what was done to prove it, in words.
        usage: lines of Python that load the file.
    """

    checked: str
    usage: list[str]
