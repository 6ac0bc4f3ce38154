"""All files below a folder, for datasets whose images may lie at any depth."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path


def walk_files(root: Path, skipped: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Walk a folder in the order of names; links are followed, each real folder is listed once.

    Args:
        root: the folder.
        skipped: names of folders that are passed over.

    Yields:
        Folder and name of each file.
    """
    seen: set[str] = set()
    for folder, below, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above, or a second way to one
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if name not in skipped)
        for name in sorted(names):
            yield folder, name
