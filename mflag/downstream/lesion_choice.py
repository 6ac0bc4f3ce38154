"""Which lesions a task is about: ``task.finding``, the same for masks and boxes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mflag.data.lesion_table import LESIONS, read_lesions
from mflag.data.manifest import LABEL_PREFIX, Prepared
from mflag.data.phantom.findings import PARENT, with_implied
from mflag.errors import InputError

# What RSNA's boxes mark, and so what generated studies are asked for unless task.finding says else.
PHANTOM_FINDING = "Lung Opacity"


@dataclass(frozen=True)
class ChosenLesions:
    """Lesions of one finding.

    Attributes:
        table: of ``read_lesions``; at least one row.
        finding: what was chosen; "all lesions" where nothing was.
        names: findings of the lesions, in alphabetical order.
        known: (n,) bool; False where the label says that the finding is there, but nothing is
            drawn.
    """

    table: pd.DataFrame
    finding: str
    names: list[str]
    known: np.ndarray


def choose_lesions(prepared: Prepared, finding: str | None) -> ChosenLesions:
    """Read the lesions of one finding.

    In generated studies a finding also covers those that imply it, as their labels do: a lesion of
    Pneumonia is one of Consolidation.

    Args:
        prepared: the folder.
        finding: its name in the table; None takes all lesions as one class, and Lung Opacity in
            generated studies.

    Raises:
        InputError: of ``read_lesions``, or no lesion of that finding.
    """
    lesions = read_lesions(prepared)
    is_generated = prepared.info.get("dataset") == "phantom"
    wanted = PHANTOM_FINDING if finding is None and is_generated else finding
    found = sorted(lesions["finding"].unique())
    if wanted is not None:
        implied = [with_implied([name]) if is_generated else {name} for name in found]
        names = [name for name, also in zip(found, implied, strict=True) if wanted in also]
        choice = sorted({*found, *PARENT.values()}) if is_generated else found
        if not names:
            raise InputError(
                f"task.finding is {wanted!r}, of which {prepared.path / LESIONS} has no lesion; "
                f"choose one of {', '.join(choice) or 'nothing'}, or prepare other data"
            )
        lesions = lesions[lesions["finding"].isin(names)]
    elif lesions.empty:
        raise InputError(
            f"{prepared.path / LESIONS} has no lesions; there is nothing to find in these data"
        )
    else:
        names = found
    return ChosenLesions(
        lesions, wanted or "all lesions", names, _is_complete(prepared, lesions, names, wanted)
    )


def _is_complete(
    prepared: Prepared, lesions: pd.DataFrame, names: list[str], wanted: str | None
) -> np.ndarray:
    """(n,) bool: what the labels say is there has a lesion; of all lesions, each label its own."""
    complete = np.ones(len(prepared), bool)
    for label in names if wanted is None else [wanted]:
        if label not in prepared.labels:
            continue
        labelled = prepared.values(LABEL_PREFIX)[:, prepared.labels.index(label)] == 1
        of_label = lesions if wanted is not None else lesions[lesions["finding"] == label]
        complete &= ~labelled | np.isin(np.arange(len(prepared)), of_label["row"])
    return complete
