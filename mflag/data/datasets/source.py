"""What a dataset's reader gives to prepare."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mflag.config.prepare import PrepareConfig
from mflag.data.funnel import Funnel
from mflag.data.rejected import IMAGE_READABLE
from mflag.errors import InputError

Record = dict[str, Any]


@dataclass(frozen=True)
class Rejection:
    """A row that cannot be used.

    Attributes:
        row: its place in the source, to list rejections in order.
        file: what ``rejected.csv`` calls it.
        reason: why.
        by_rule: a rule of the user's left it out: it says nothing against the data.
    """

    row: int
    file: str
    reason: str
    by_rule: bool = False


@dataclass(frozen=True)
class Source:
    """Studies to prepare, in the order that they will have.

    Attributes:
        options: all that the result depends on; with equal options a run goes on or is finished.
        items: what ``load`` takes, a study each; small, picklable.
        rows: place of each item in the source.
        files: what ``rejected.csv`` calls each item.
        load: item to ((H, W) unsigned integers, JSON record), the image as it was decoded; raises
            ``Rejected``. Runs in workers.
        build_tables: numbers of the items kept and their records to tables by file name; one of
            them is ``manifest.parquet``.
        rejected: rows that were dropped before any image was read.
        load_steps: the funnel's steps that ``load`` decides, in its order, each with the number
            published for it; ``Rejected.step`` is one of them.
        funnel: the filters so far; its last step counts ``items``.
        where: what error messages call the source.
        prefer: ``threads`` where ``load`` releases the interpreter's lock, else ``processes``.
        remarks: lines for people, each starting ``note:`` or ``warning:``.
        shares_patients: a published split was chosen that keeps no patient in one part.
        root: folder of the original image files; None where images do not come from files.
        images: path of each item's image file, below ``root``; empty without ``root``.
    """

    options: dict[str, Any]
    items: Sequence[Any]
    rows: Sequence[int]
    files: Sequence[str]
    load: Callable[[Any], tuple[np.ndarray, Record]]
    build_tables: Callable[[list[int], list[Record]], dict[str, pd.DataFrame]]
    where: str
    funnel: Funnel
    prefer: str
    rejected: list[Rejection] = field(default_factory=list)
    load_steps: Mapping[str, int | None] = field(default_factory=lambda: {IMAGE_READABLE: None})
    remarks: list[str] = field(default_factory=list)
    shares_patients: bool = False
    root: str | None = None
    images: Sequence[str] = ()

    @property
    def total(self) -> int:
        """Rows of the source, rejected ones too."""
        return len(self.items) + len(self.rejected)


def refuse_unread_keys(config: PrepareConfig, read: set[str]) -> None:
    """Refuse keys that the chosen dataset would ignore.

    Raises:
        InputError: a key outside ``read`` was given.
    """
    name = config.dataset.name
    given = {"root": config.root, "csv": config.csv, "phantom.format": config.phantom.format}
    given |= {f"dataset.{key}": value for key, value in vars(config.dataset).items()}
    for key, value in given.items():
        if value is not None and key not in read | {"dataset.name"}:
            raise InputError(
                f"{key} is {value!r}, but dataset={name} does not read it; leave it out, "
                f"or choose another dataset. It reads: {', '.join(sorted(read))}"
            )
