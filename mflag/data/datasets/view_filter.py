"""Images chosen by the view that a dataset's own table names."""

from collections.abc import Sequence

import pandas as pd

from mflag.errors import InputError

UNKNOWN = "unknown"  # what users write for images without a view
# Asked for together by default, so a sample may lack one of these, or views that are not known.
_MAY_LACK = {"pa", "ap", UNKNOWN}


def select_views(found: pd.Series, wanted: Sequence[str], where: str) -> tuple[pd.Series, str]:
    """Tell which images have one of the wanted views.

    Args:
        found: the view of each image, upper case, ``""`` where it is not known.
        wanted: views in any case; ``unknown`` means those without.
        where: what error messages call the table.

    Returns:
        (n,) bool, and how many images of each other view there are.

    Raises:
        InputError: no image is left, or no image has one of the views, other than PA, AP and
            ``unknown``.
    """
    shown = found.replace("", UNKNOWN)
    folded = shown.str.lower()
    is_wanted = folded.isin([view.lower() for view in wanted])
    there = _MAY_LACK | set(folded)
    absent = [view for view in wanted if view.lower() not in there]
    if absent or not is_wanted.any():
        named = f" ({', '.join(map(repr, absent))} is not there)" if absent else ""
        raise InputError(
            f"dataset.views is {list(wanted)}, but {where} has {_counts(shown)}{named}; choose "
            "among these, or null for all"
        )
    return is_wanted, _counts(shown[~is_wanted])


def _counts(views: pd.Series) -> str:
    return ", ".join(f"{view} {count:,}" for view, count in views.value_counts().items())
