"""One configuration key: its default and what ``--help`` says of it."""

import copy
from dataclasses import field
from typing import Any


def option(default: Any, help: str) -> Any:
    """Return a dataclass field with a default value and a line of help."""
    if isinstance(default, list | dict):
        return field(default_factory=lambda: copy.deepcopy(default), metadata={"help": help})
    return field(default=default, metadata={"help": help})


def group(schema: type, help: str = "") -> Any:
    """Return a dataclass field that holds another configuration dataclass."""
    return field(default_factory=schema, metadata={"help": help})
