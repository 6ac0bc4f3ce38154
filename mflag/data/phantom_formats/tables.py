"""Files of a raw tree: bytes on disk, and tables as CSV, packed or not."""

import csv
import gzip
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file and its folders, safe from a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_csv(path: Path, header: str, rows: Iterable[Sequence[Any]]) -> None:
    """Write a table; a name that ends in ``.gz`` is packed, with equal bytes for equal rows.

    Args:
        path: the file.
        header: the first line as it is in the real file, blanks and unquoted commas included.
        rows: cells; None is empty.
    """
    text = io.StringIO()
    text.write(f"{header}\n")
    csv.writer(text, lineterminator="\n").writerows(rows)
    content = text.getvalue().encode()
    write_bytes(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
