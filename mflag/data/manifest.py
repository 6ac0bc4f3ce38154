"""Prepared data: one table of studies and one memory map of images, in the same order."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mflag.errors import InputError
from mflag.runtime.atomic_write import file_sha256

# 2: uncertain labels are kept as -1, a row is an image.
FORMAT = 2
# Pixels a side that images are stored with unless stored_size says otherwise; lesions.parquet is
# always drawn on this grid.
IMAGE_SIZE = 256
STORED_SIZES = (224, 256, 320, 512)
MANIFEST = "manifest.parquet"
SPLITS = ("train", "valid", "test")
FILE, FILE_BYTES = "file", "file_bytes"
LABEL_PREFIX = "label/"
ATTRIBUTE_PREFIX = "attribute/"


@dataclass(frozen=True)
class Prepared:
    """What ``mflag.prepare`` left in a folder.

    Training reads ``rows`` and ``column`` alone: a million reports stay on disk.

    Attributes:
        path: the folder.
        manifest: a row an image: ``id``, ``patient``, ``split`` (train, valid, test), ``text``
            ("" where the dataset has no reports), and float columns ``label/NAME`` (1 present,
            0 absent, -1 uncertain, NaN not mentioned; see ``label_policy``) and
            ``attribute/NAME``. Some datasets have ``study`` (id of the report, which several
            images may share), ``view`` (PA, AP, ..., "" unknown), ``sex`` (M, F, "" unknown) and
            ``age`` (years, NaN unknown). Images that came from files have ``file`` (below
            ``root`` of ``info``) and ``file_bytes``. Read when first asked for.
        images: (n, S, S) uint8, S = ``image_size``, read-only memory map; row r belongs to row r of
            ``manifest``.
        info: the content of ``prepared.json``.
    """

    path: Path
    images: np.ndarray
    info: dict[str, Any]

    def __len__(self) -> int:
        """Number of studies."""
        return int(self.info["count"])

    @property
    def image_size(self) -> int:
        """Height and width of the stored images, pixels."""
        return int(self.info["image_size"])

    @property
    def warnings(self) -> list[str]:
        """What prepare warned of, such as patients in two splits, without its ``warning:``."""
        remarks = self.info.get("remarks", [])
        return [r.removeprefix("warning: ") for r in remarks if r.startswith("warning:")]

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """All columns, kept in memory from the first use on."""
        return pq.read_table(pa.BufferReader(self._table_bytes())).to_pandas()

    def column(self, name: str) -> pa.ChunkedArray:
        """Read one column; nothing is kept.

        Raises:
            InputError: the table was replaced or removed after ``open_prepared``.
            KeyError: there is no such column.
        """
        return self._columns([name])[name]

    @property
    def labels(self) -> list[str]:
        """Names of the label columns, without their prefix."""
        return self._names(LABEL_PREFIX)

    @property
    def attributes(self) -> list[str]:
        """Names of the attribute columns, without their prefix."""
        return self._names(ATTRIBUTE_PREFIX)

    def rows(self, split: str) -> np.ndarray:
        """Return the row numbers of a split, (k,) int64.

        Raises:
            InputError: the split is empty or unknown.
        """
        wanted = SPLITS.index(split) if split in SPLITS else len(SPLITS)
        rows = np.flatnonzero(self._splits == wanted)
        if len(rows) == 0:
            raise InputError(
                f"split {split!r} of {self.path} is empty; its splits: {self.split_counts()}; "
                "prepare it with a split column or with more patients, or choose another "
                "dataset.split"
            )
        return rows

    def split_counts(self) -> dict[str, int]:
        """Number of studies by split."""
        return {s: int((self._splits == code).sum()) for code, s in enumerate(SPLITS)}

    def values(self, prefix: str) -> np.ndarray:
        """The label or attribute columns, (n, k) float32."""
        table = self._columns([prefix + name for name in self._names(prefix)])
        values = np.empty((len(self), table.num_columns), np.float32)
        for place, column in enumerate(table.columns):
            values[:, place] = column.to_numpy()
        return values

    @cached_property
    def _splits(self) -> np.ndarray:
        """(n,) int8, place in ``SPLITS``; -1 for another name."""
        names = self.column("split")
        codes = pc.fill_null(pc.index_in(names, pa.array(SPLITS, names.type)), -1)
        return codes.to_numpy().astype(np.int8)

    def _names(self, prefix: str) -> list[str]:
        names = pq.read_schema(pa.BufferReader(self._table_bytes())).names
        return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]

    def _columns(self, names: Sequence[str]) -> pa.Table:
        return pq.read_table(pa.BufferReader(self._table_bytes()), columns=names)

    def _table_bytes(self) -> pa.Buffer:
        """The file of the table, of which it is certain that it belongs to ``images``.

        The memory is Arrow's: its threads may let go of it while Python ends, and bytes of Python's
        would then abort the process (exit code 134).
        """
        file = self.path / MANIFEST
        try:
            with pa.OSFile(str(file)) as opened:
                content = opened.read_buffer()
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror}; prepare again") from error
        if hashlib.sha256(content).hexdigest() != self.info["hashes"][MANIFEST]:
            raise InputError(f"{file} was altered after prepare; run mflag.prepare again")
        return content


def open_prepared(path: Path | str, *, check_hashes: bool = False) -> Prepared:
    """Open a prepared folder and check that it is whole.

    Args:
        path: the ``out`` of ``mflag.prepare``.
        check_hashes: also read all images and compare their sha256.

    Raises:
        InputError: not a prepared folder, another format version, cut short, or altered.
    """
    path = Path(path)
    info = _read_info(path)
    table, images = path / MANIFEST, path / "images.u8"
    for file in (table, images):
        if not file.is_file():
            raise InputError(f"{file} is missing; run mflag.prepare again with out={path}")
    shape = (info["count"], info["image_size"], info["image_size"])
    expected = math.prod(shape)
    if images.stat().st_size != expected:
        raise InputError(
            f"{images} was cut short: {images.stat().st_size} bytes, but {info['count']} images"
            f" of {shape[1]} x {shape[2]} need {expected}; run mflag.prepare again with out={path}"
        )
    for file in (table, images) if check_hashes else (table,):
        if file_sha256(file) != info["hashes"][file.name]:
            raise InputError(f"{file} was altered after prepare; run mflag.prepare again")
    pixels = (
        np.memmap(images, np.uint8, "r", shape=shape)
        if info["count"]
        else np.empty(shape, np.uint8)
    )
    return Prepared(path, pixels, info)


def _read_info(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise InputError(
            f"data.path is {str(path)!r}, which is no folder; give the out= of mflag.prepare"
        )
    file = path / "prepared.json"
    if not file.is_file():
        raise InputError(
            f"{file} is missing; {path} was not made by mflag.prepare, or it did not finish"
        )
    try:
        info = json.loads(file.read_text())
        version = info["format"]
        info["count"], info["hashes"]["manifest.parquet"], info["hashes"]["images.u8"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} is damaged ({error}); run mflag.prepare again with out={path}"
        ) from error
    if version != FORMAT:
        raise InputError(
            f"{file} has format {version} but this version reads format {FORMAT}; "
            "run mflag.prepare again"
        )
    if info.get("image_size") not in STORED_SIZES:
        raise InputError(
            f"{file} is damaged (image_size {info.get('image_size')!r}); run mflag.prepare again "
            f"with out={path}"
        )
    return info


def column_names(manifest: pd.DataFrame, prefix: str) -> list[str]:
    """Names of the columns that start with ``prefix``, without it."""
    return [c.removeprefix(prefix) for c in manifest.columns if c.startswith(prefix)]
