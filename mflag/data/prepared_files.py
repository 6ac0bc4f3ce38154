"""The files of a prepared folder: written last, all or nothing."""

import json
import os
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mflag.data.datasets.source import Rejection, Source
from mflag.data.manifest import (
    ATTRIBUTE_PREFIX,
    LABEL_PREFIX,
    MANIFEST,
    SPLITS,
    Prepared,
    column_names,
    open_prepared,
)
from mflag.data.partial_images import PartialImages, Result
from mflag.data.splits import check_splits, split_by_patient
from mflag.errors import InputError
from mflag.runtime.atomic_write import atomic_write, file_sha256, remove_leftovers, write_json

IMAGES = "images.u8"
INFO = "prepared.json"
_ALL = (INFO, MANIFEST, IMAGES, "lesions.parquet", "funnel.json", "rejected.csv")
_WAITING = 16  # threads that ask a file system, which may be far away, for sizes
TEXT_CACHE = "[0-9a-f]" * 16 + ".*"
_LESION_SCHEMA = {
    "runs": pa.list_(pa.int32()),
    "source_box": pa.list_(pa.float64()),
    "source_runs": pa.list_(pa.int32()),
    "source_height": pa.int32(),
    "source_width": pa.int32(),
}


def existing_files(out: Path) -> list[str]:
    """Names of prepare's own files that are in ``out``."""
    return [name for name in _ALL if (out / name).exists()]


def read_options(out: Path) -> dict[str, Any] | None:
    """What a finished ``out`` was asked for; None when it is not finished."""
    try:
        info = json.loads((out / INFO).read_text())
        return {key: info[key] for key in ("format", "dataset", "image_size", "options")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_prepared(
    out: Path,
    request: dict[str, Any],
    source: Source,
    results: list[Result],
    partial: PartialImages,
) -> Prepared:
    """Write all files from what was loaded, ``prepared.json`` last, and drop the partial ones.

    Args:
        out: the folder.
        request: ``format``, ``dataset``, ``image_size`` and ``options``.
        source: the dataset.
        results: a result an item of ``source``.
        partial: where the images are.

    Raises:
        InputError: no study is left to train on, or the disk is full.
    """
    kept = [number for number, result in enumerate(results) if "record" in result]
    tables = source.build_tables(kept, [results[number]["record"] for number in kept])
    manifest = _with_files(_with_split(tables[MANIFEST], source), source, kept)
    for name in existing_files(out):  # of an earlier run; prepared.json goes first
        _remove(out / name)
    for cached in (out / "text").glob(TEXT_CACHE):  # vectors of other reports, and nothing else
        _remove(cached)
    remove_leftovers(out)
    _write_images(out / IMAGES, partial, kept)
    hashes = {IMAGES: file_sha256(out / IMAGES)}
    for name, table in {**tables, MANIFEST: manifest}.items():
        _write_parquet(out / name, table)
        hashes[name] = file_sha256(out / name)
    rejected = _write_rejected(out / "rejected.csv", source, results)
    _count_load_steps(source, results)
    write_json(out / "funnel.json", source.funnel.as_json())
    summary = {**_summary(manifest), "rejected": rejected, "remarks": source.remarks}
    if source.root is not None:
        summary["root"] = os.path.abspath(source.root)
    write_json(out / INFO, {**request, **summary, "hashes": hashes})
    partial.discard()
    return open_prepared(out)


def _with_split(manifest: pd.DataFrame, source: Source) -> pd.DataFrame:
    manifest = manifest.reset_index(drop=True)
    if "split" not in manifest:
        manifest.insert(2, "split", split_by_patient(manifest["patient"]))
    check_splits(
        manifest["patient"], manifest["split"], source.where, may_share=source.shares_patients
    )
    return manifest


def _with_files(manifest: pd.DataFrame, source: Source, kept: list[int]) -> pd.DataFrame:
    """Append which file each image came from, and how long it was."""
    if source.root is None:
        return manifest
    paths = [source.images[number] for number in kept]
    try:
        with ThreadPoolExecutor(_WAITING) as pool:
            sizes = list(pool.map(os.path.getsize, paths))
    except FileNotFoundError as error:
        raise InputError(
            f"{error.filename} vanished while it was prepared; restore it and start again"
        ) from error
    names = [os.path.relpath(path, source.root) for path in paths]
    return manifest.assign(file=names, file_bytes=np.array(sizes, np.int64))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_images(path: Path, partial: PartialImages, kept: list[int]) -> None:
    if len(kept) == partial.count:
        with suppress(OSError):  # a file system without hard links copies
            os.link(partial.images, path)
            return
    images = np.memmap(partial.images, np.uint8, "r", shape=(partial.count, partial.image_size**2))
    with atomic_write(path) as file:
        for number in kept:
            file.write(images[number].tobytes())


def _write_parquet(path: Path, table: pd.DataFrame) -> None:
    content = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    for name, kind in _LESION_SCHEMA.items():
        if name in content.column_names:
            place = content.column_names.index(name)
            content = content.set_column(place, name, content[name].cast(kind))
    with atomic_write(path) as file:
        pq.write_table(content, file, compression="zstd")


def _count_load_steps(source: Source, results: list[Result]) -> None:
    failed = Counter(result["step"] for result in results if "rejected" in result)
    left = len(results)
    for name, published in source.load_steps.items():
        left -= failed[name]
        source.funnel.add(name, left, published)


def _write_rejected(path: Path, source: Source, results: list[Result]) -> int:
    found = source.rejected + [
        Rejection(row, file, result["rejected"])
        for row, file, result in zip(source.rows, source.files, results, strict=True)
        if "rejected" in result
    ]
    found.sort(key=lambda rejection: rejection.row)
    table = pd.DataFrame([(r.file, r.reason) for r in found], columns=["file", "reason"])
    with atomic_write(path) as file:
        file.write(table.to_csv(index=False, lineterminator="\n").encode())
    return len(found)


def _summary(manifest: pd.DataFrame) -> dict[str, Any]:
    splits = Counter(manifest["split"])
    return {
        "count": len(manifest),
        "patients": int(manifest["patient"].nunique()),
        "splits": {name: splits[name] for name in SPLITS},
        "labels": column_names(manifest, LABEL_PREFIX),
        "attributes": column_names(manifest, ATTRIBUTE_PREFIX),
    }
