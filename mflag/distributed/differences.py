"""What must be equal on all ranks, and how a difference is named."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import mflag


def code_facts() -> dict[str, str]:
    """Versions of this package and of torch, and a hash of the package's sources."""
    digest = hashlib.sha256()
    for folder in sorted(map(str, mflag.__path__)):
        for path in sorted(Path(folder).rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return {
        "version of mflag": mflag.__version__,
        "version of torch": torch.__version__,
        "source code of mflag": digest.hexdigest()[:12],
    }


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dotted names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def first_difference(first: Mapping[str, Any], other: Mapping[str, Any], rank: int) -> str:
    """Name up to three facts in which a rank differs from rank 0; empty when none does."""
    names = [name for name in dict.fromkeys([*first, *other]) if first.get(name) != other.get(name)]
    if not names:
        return ""
    pairs = (
        f"{name} is {first.get(name)!r} on rank 0 and {other.get(name)!r} on rank {rank}"
        for name in names[:3]
    )
    return (
        f"the ranks differ: {'; '.join(pairs)}; start every process with the same command, "
        "code and data"
    )
