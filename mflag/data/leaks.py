"""What two sets of images share, by image and by patient."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from mflag.data.manifest import SPLITS

# Same pictures under other names: no id can show it.
_OVERLAPS = {
    frozenset({"nih", "rsna"}): (
        "all 26,684 images of rsna are images of nih under other ids, so what both share cannot "
        "be counted here; do not train on one and test on the other"
    )
}


@dataclass(frozen=True)
class Leak:
    """What of one set is also in another.

    Attributes:
        source: name of the set that leaks, usually ``train``.
        target: name of the set that should be unseen.
        images: ids of ``target`` that are in ``source`` too.
        patients: patients of ``target`` that are in ``source`` too.
        of_images: all ids of ``target``.
        of_patients: all patients of ``target``.
    """

    source: str
    target: str
    images: int
    patients: int
    of_images: int
    of_patients: int

    @property
    def is_clean(self) -> bool:
        """Whether the two sets share nothing."""
        return self.images == 0 and self.patients == 0

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.images:,} of {self.of_images:,} {self.target} images and {self.patients:,} of "
            f"{self.of_patients:,} {self.target} patients are also in {self.source}"
        )


def count_shared(
    source: pd.DataFrame, target: pd.DataFrame, names: tuple[str, str] = ("train", "test")
) -> Leak:
    """Count what ``target`` shares with ``source``.

    Args:
        source: rows with ``id`` and ``patient``, such as a manifest; an id may come twice.
        target: the same of the set that should be unseen, with ids of the same kind.
        names: what the two are called.
    """
    images, of_images = _count_members(target["id"], source["id"])
    patients, of_patients = _count_members(target["patient"], source["patient"])
    return Leak(*names, images, patients, of_images, of_patients)


def find_leaks(members: pd.DataFrame, splits: Iterable[str] = SPLITS) -> list[Leak]:
    """Compare every two splits of a scheme.

    Args:
        members: a row an image of a split: ``id``, ``patient``, ``split``. An image of two
            splits has two rows.
        splits: names, those that should be unseen last.

    Returns:
        The pairs that share an image or a patient.
    """
    parts = {name: members[members["split"] == name] for name in splits}
    pairs = combinations(parts, 2)
    leaks = [count_shared(parts[first], parts[second], (first, second)) for first, second in pairs]
    return [leak for leak in leaks if not leak.is_clean]


def known_overlap(first: str, second: str) -> str | None:
    """Say what two datasets are known to share although their ids differ.

    Args:
        first: name of a dataset, as in ``dataset=NAME``.
        second: name of another.

    Returns:
        One line for people; None where nothing is known.
    """
    return _OVERLAPS.get(frozenset({first, second}))


def _count_members(target: pd.Series, source: pd.Series) -> tuple[int, int]:
    """How many distinct names of ``target`` are in ``source``, and how many there are."""
    names = pd.unique(target.astype(object))  # objects: looking up Arrow strings takes seconds
    places = pd.Index(source.astype(object)).unique().get_indexer(names)
    return int((places >= 0).sum()), len(names)
