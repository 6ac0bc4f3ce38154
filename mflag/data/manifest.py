"""Prepared data: one table of studies and one memory map of images, in the same order."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mflag.errors import InputError
from mflag.runtime.atomic_write import file_sha256

# 2: uncertain labels are kept as -1, a row is an image.
FORMAT = 2
IMAGE_SIZE = 256
SPLITS = ("train", "valid", "test")
LABEL_PREFIX = "label/"
ATTRIBUTE_PREFIX = "attribute/"


@dataclass(frozen=True)
class Prepared:
    """What ``mflag.prepare`` left in a folder.

    Attributes:
        path: the folder.
        manifest: a row an image: ``id``, ``patient``, ``split`` (train, valid, test), ``text``
            ("" where the dataset has no reports), and float columns ``label/NAME`` (1 present,
            0 absent, -1 uncertain, NaN not mentioned; see ``label_policy``) and
            ``attribute/NAME``. Some datasets have ``study`` (id of the report, which several
            images may share), ``view`` (PA, AP, ..., "" unknown), ``sex`` (M, F, "" unknown) and
            ``age`` (years, NaN unknown).
        images: (n, 256, 256) uint8, read-only memory map; row r belongs to row r of ``manifest``.
        info: the content of ``prepared.json``.
    """

    path: Path
    manifest: pd.DataFrame
    images: np.ndarray
    info: dict[str, Any]

    def __len__(self) -> int:
        """Number of studies."""
        return len(self.manifest)

    @property
    def labels(self) -> list[str]:
        """Names of the label columns, without their prefix."""
        return column_names(self.manifest, LABEL_PREFIX)

    @property
    def attributes(self) -> list[str]:
        """Names of the attribute columns, without their prefix."""
        return column_names(self.manifest, ATTRIBUTE_PREFIX)

    def rows(self, split: str) -> np.ndarray:
        """Return the row numbers of a split, (k,) int64.

        Raises:
            InputError: the split is empty or unknown.
        """
        rows = np.flatnonzero(self.manifest["split"].to_numpy() == split)
        if len(rows) == 0:
            raise InputError(
                f"split {split!r} of {self.path} is empty; its splits: {self.split_counts()}; "
                "prepare it with a split column or with more patients"
            )
        return rows

    def split_counts(self) -> dict[str, int]:
        """Number of studies by split."""
        return {s: int((self.manifest["split"] == s).sum()) for s in SPLITS}

    def values(self, prefix: str) -> np.ndarray:
        """The label or attribute columns, (n, k) float32."""
        columns = [prefix + name for name in column_names(self.manifest, prefix)]
        return self.manifest[columns].to_numpy(np.float32)


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
    table, images = path / "manifest.parquet", path / "images.u8"
    for file in (table, images):
        if not file.is_file():
            raise InputError(f"{file} is missing; run mflag.prepare again with out={path}")
    expected = info["count"] * IMAGE_SIZE * IMAGE_SIZE
    if images.stat().st_size != expected:
        raise InputError(
            f"{images} was cut short: {images.stat().st_size} bytes, but {info['count']} images"
            f" need {expected}; run mflag.prepare again with out={path}"
        )
    for file in (table, images) if check_hashes else (table,):
        if file_sha256(file) != info["hashes"][file.name]:
            raise InputError(f"{file} was altered after prepare; run mflag.prepare again")
    manifest = pd.read_parquet(table)
    shape = (info["count"], IMAGE_SIZE, IMAGE_SIZE)
    pixels = (
        np.memmap(images, np.uint8, "r", shape=shape)
        if info["count"]
        else np.empty(shape, np.uint8)
    )
    return Prepared(path, manifest, pixels, info)


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
    return info


def column_names(manifest: pd.DataFrame, prefix: str) -> list[str]:
    """Names of the columns that start with ``prefix``, without it."""
    return [c.removeprefix(prefix) for c in manifest.columns if c.startswith(prefix)]
