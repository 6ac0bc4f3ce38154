"""Which variants a table or a grid consists of."""

import re
from dataclasses import dataclass
from itertools import product
from typing import Any

from mflag.config.compose import as_override
from mflag.errors import InputError

TEXT_LAYERS = 6  # that Table 5 unfreezes, and that MiniLM has
ALIGN_ONLY = ("loss.orthogonality_share=null", "loss.orthogonality_weight=0")
ORTH_ONLY = (
    "loss.alignment_weight=0",
    "loss.orthogonality_weight=1",
    "loss.orthogonality_share=null",
)
SWEEP: dict[str, list[Any]] = {
    "loss.norm": ["standardize", "feature", "sample", "none"],
    "loss.orthogonality_share": [0.1, 0.3],
    "train.batch_size": [64, 128],
}
RANDOM = "random"
# What a value is called in a variant's name; other keys go by their last word.
_PREFIXES = {
    "loss.norm": "",
    "preset": "",
    "loss.orthogonality_share": "share",
    "train.batch_size": "batch",
    "text.unfreeze_last": "unfreeze_",
}


@dataclass(frozen=True)
class Variant:
    """One row of an ablation.

    Attributes:
        name: of its folder.
        overrides: of mflag.train, beside those that all variants share.
        is_trained: False for random weights.
    """

    name: str
    overrides: tuple[str, ...] = ()
    is_trained: bool = True


def choose_variants(table: str, grid: Any) -> list[Variant]:
    """Return the variants; the first is what the others are compared with.

    Args:
        table: ``4``, ``5``, ``sweep`` or ``none``.
        grid: values by key of mflag.train; replaces the grid of ``sweep``, and needs ``none``
            otherwise.

    Raises:
        InputError: table and grid do not go together, or give no variants.
    """
    if table not in ("4", "5", "sweep", "none"):
        raise InputError(f"table is {table!r}; choose 4, 5, sweep, or none with grid=")
    if table == "none" and grid is None:
        raise InputError("table is 'none' and grid is empty; give grid={KEY:[VALUE,VALUE]}")
    if table in ("4", "5") and grid is not None:
        raise InputError(f"table={table} has variants of its own; add table=none to grid=")
    if table == "4":
        return [
            Variant("both"), Variant("align_only", ALIGN_ONLY), Variant("orth_only", ORTH_ONLY),
        ]  # fmt: skip
    if table == "5":
        depths = range(1, TEXT_LAYERS + 1)
        return [
            Variant("both", ("text.unfreeze_last=0",)),
            *[Variant(f"unfreeze_{k}", (f"text.unfreeze_last={k}",)) for k in depths],
        ]
    variants = grid_variants(SWEEP if grid is None else grid)
    return [*_single_losses(grid or SWEEP), *variants] if table == "sweep" else variants


def grid_variants(grid: Any) -> list[Variant]:
    """Return every combination of a grid's values.

    Raises:
        InputError: it is no mapping of keys to lists, or two combinations have one name.
    """
    if not isinstance(grid, dict) or not grid:
        raise InputError(f"grid is {grid!r}; give {{KEY:[VALUE,VALUE]}}")
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"grid has {key}:{values!r}; give a list, {key}:[VALUE,VALUE]")
    keys = [str(key) for key in grid]
    found = []
    for values in product(*grid.values()):
        pairs = list(zip(keys, values, strict=True))
        name = "-".join(_name_of(key, value) for key, value in pairs)
        found.append(Variant(name, tuple(as_override(key, value) for key, value in pairs)))
    names = [variant.name for variant in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"grid gives two variants the name {twice!r}; give each value once")
    return found


def _single_losses(grid: dict[str, list[Any]]) -> list[Variant]:
    """One loss alone: the alignment at every batch size, the orthogonality at the first."""
    batches = grid.get("train.batch_size", [None])
    found = []
    for name, overrides, sizes in (
        ("align_only", ALIGN_ONLY, batches), ("orth_only", ORTH_ONLY, batches[:1]),
    ):  # fmt: skip
        for size in sizes:
            suffix, of_size = (f"-batch{size}", (f"train.batch_size={size}",)) if size else ("", ())
            found.append(Variant(name + suffix, (*overrides, *of_size)))
    return found


def _name_of(key: str, value: Any) -> str:
    prefix = _PREFIXES.get(key, key.rpartition(".")[2])
    text = as_override("", value)[1:].strip("'")
    return re.sub(r"[^\w.+]+", "_", f"{prefix}{text}")
