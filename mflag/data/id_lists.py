"""Splits from lists of ids: one id a line, no header."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from mflag.errors import InputError

_SHOWN = 3


@dataclass(frozen=True)
class IdList:
    """The lines of a file.

    Attributes:
        path: the file.
        ids: stripped lines in their order, without empty ones; some may come twice.
    """

    path: Path
    ids: list[str]


def read_id_list(path: Path | str, key: str) -> IdList:
    """Read a list; its last line may lack the newline.

    Args:
        path: a text file.
        key: what error messages call it.

    Raises:
        InputError: no such file, not text, or no ids.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{key} is {str(path)!r}, which is no file; give a list of ids")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, PermissionError) as error:
        raise InputError(f"{key} {path} cannot be read as text ({error}); repair it") from error
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise InputError(f"{key} {path} is empty; give one id a line")
    return IdList(path, ids)


def select_listed(
    listed: IdList,
    images: pd.Series,
    patients: pd.Series,
    normalize: Callable[[str], str] = str,
    hint: str = "",
) -> np.ndarray:
    """Tell which rows a list means.

    Args:
        listed: ids of images or of patients, also mixed. A patient may come once an image.
        images: the image id of each row, each once.
        patients: the patient of each row, with the index of ``images``.
        normalize: from a line to the spelling of ``images`` and ``patients``.
        hint: what the error about unknown ids adds.

    Returns:
        (n,) bool.

    Raises:
        InputError: it names ids that are unknown, or images that come twice.
    """
    images, patients = images.astype(object), patients.astype(object)  # 10 x Arrow's speed
    spelled = pd.Series([normalize(line) for line in listed.ids], dtype=object)
    is_image = spelled.isin(images)
    is_unknown = ~is_image & ~spelled.isin(patients)
    if is_unknown.any():
        unknown = pd.Series(listed.ids, dtype=object)[is_unknown]
        if unknown.index.tolist() == [0]:
            hint = "; a list has no header line" + hint
        raise InputError(
            f"{listed.path} names {_shown(unknown)}, which the label table does not know{hint}"
        )
    twice = spelled[is_image & spelled.duplicated()]
    if len(twice):
        raise InputError(f"{listed.path} names {_shown(twice)} more than once; keep one line each")
    return (images.isin(spelled[is_image]) | patients.isin(spelled[~is_image])).to_numpy()


def split_by_lists(
    lists: Mapping[str, IdList],
    images: pd.Series,
    patients: pd.Series,
    normalize: Callable[[str], str] = str,
    hint: str = "",
) -> pd.Series:
    """Give each row the split of the list that means it.

    Args:
        lists: a list by split.
        images: as in ``select_listed``; so are the others.
        patients: the patient of each row.
        normalize: from a line to an id.
        hint: what the error about unknown ids adds.

    Returns:
        The split of each row, ``""`` where no list means it.

    Raises:
        InputError: a list names unknown ids, or two lists mean the same image.
    """
    chosen = {
        name: select_listed(listed, images, patients, normalize, hint)
        for name, listed in lists.items()
    }
    for first, second in combinations(chosen, 2):
        both = images[chosen[first] & chosen[second]]
        if len(both):
            raise InputError(
                f"{lists[first].path} and {lists[second].path} both mean {_shown(both)}; "
                "an image has one split"
            )
    split = pd.Series("", images.index, dtype=object)
    for name, rows in chosen.items():
        split[rows] = name
    return split


def _shown(ids: pd.Series) -> str:
    unique = ids.drop_duplicates()
    more = f" and {len(unique) - _SHOWN:,} more" if len(unique) > _SHOWN else ""
    return ", ".join(repr(name) for name in unique[:_SHOWN]) + more
