"""The frozen vectors of a prepared folder's reports: made once, kept beside it."""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mflag.config.text import TextConfig
from mflag.data.manifest import Prepared
from mflag.data.text_vectors import TextSource, choose_text_source
from mflag.errors import InputError
from mflag.runtime.atomic_write import write_json
from mflag.runtime.tensor_file import write_tensors

FORMAT = 1
# Of the vectors' mean length: what is shorter has no direction, only rounding.
_ZERO = 1e-6


@dataclass(frozen=True)
class TextTable:
    """Unit vectors of the distinct reports.

    Attributes:
        embeddings: (M, D) float16, rows of unit length.
        rows: (n,) int64, manifest row to row of ``embeddings``; -1 where the text has no vector.
        metadata: what it was made from and with, all strings.
    """

    embeddings: Tensor
    rows: Tensor
    metadata: dict[str, str]


def build_text_table(
    prepared: Prepared, config: TextConfig, *, device: str = "cpu", progress: bool = True
) -> TextTable:
    """Embed every distinct report once, or read what an earlier call kept.

    Args:
        prepared: the studies.
        config: which encoder, and how.
        device: where a language model runs.
        progress: print one line of what was made.

    Raises:
        InputError: the encoder is missing or broken, or the reports cannot be embedded.
    """
    start = time.monotonic()
    texts = prepared.column("text").cast(pa.large_string())
    training = prepared.rows("train")
    source = choose_text_source(config, cache=prepared.path / "text")
    key = _key(source, config, texts, training)
    path = kept_path(prepared, key)
    table = _read_cached(path, key, len(texts))
    kept = table is not None
    if table is None:
        table, words = _embed(source, config, texts, training, key, device)
        _try_to_keep(path, table, words)
    if progress:
        print(_line(table, kept, time.monotonic() - start))
    return table


def table_key(prepared: Prepared, config: TextConfig) -> dict[str, str]:
    """What the table of these reports and this encoder is kept under: the core of its metadata."""
    texts = prepared.column("text").cast(pa.large_string())
    return _key(choose_text_source(config), config, texts, prepared.rows("train"))


def reports_hash(prepared: Prepared) -> str:
    """The ``text_hash`` in the metadata of a table of these reports."""
    return _text_hash(prepared.column("text").cast(pa.large_string()))


def kept_path(prepared: Prepared, key: dict[str, str]) -> Path:
    """Where the table of a key is kept."""
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return prepared.path / "text" / f"{name}.safetensors"


def save_text_table(path: Path | str, table: TextTable) -> None:
    """Write a table as safetensors; equal tables give equal bytes."""
    tensors = {"embeddings": table.embeddings, "rows": table.rows}
    write_tensors(path, tensors, table.metadata)


def load_text_table(path: Path | str) -> TextTable:
    """Read a table and check its shapes.

    Raises:
        InputError: missing, junk, cut short, or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"text table {path} is missing; train or embed again")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            embeddings, rows = file.get_tensor("embeddings"), file.get_tensor("rows")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no text table ({error}); delete it") from error
    if metadata.get("format") != str(FORMAT):
        raise InputError(f"{path} has format {metadata.get('format')!r}, not '{FORMAT}'; delete it")
    fits = embeddings.dtype == torch.float16 and embeddings.ndim == 2 and rows.ndim == 1
    if not fits or rows.dtype != torch.int64 or not _in_range(rows, len(embeddings)):
        raise InputError(f"{path} is damaged; delete it")
    return TextTable(embeddings, rows, metadata)


def _in_range(rows: Tensor, count: int) -> bool:
    return len(rows) == 0 or bool(rows.min() >= -1 and rows.max() < count)


def _key(
    source: TextSource, config: TextConfig, texts: pa.ChunkedArray, training: np.ndarray
) -> dict[str, str]:
    return {
        "format": str(FORMAT),
        **source.identity,
        "center": str(config.center).lower(),
        "text_hash": _text_hash(texts),
        "train_hash": hashlib.sha256(training.astype("<i8").tobytes()).hexdigest(),
    }


def _text_hash(texts: pa.ChunkedArray) -> str:
    """The sha256 of lengths and UTF-8 bytes: no Python string is made of a million reports."""
    digest = hashlib.sha256(pc.binary_length(texts).to_numpy().astype("<i8").tobytes())
    for chunk in texts.chunks:
        _, offsets, content = chunk.buffers()
        places = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
        if content is not None:  # None: all texts are empty
            digest.update(memoryview(content)[places[0] : places[-1]])
    return digest.hexdigest()


def _read_cached(path: Path, key: dict[str, str], count: int) -> TextTable | None:
    if not path.is_file():
        return None
    table = load_text_table(path)
    if len(table.rows) != count or any(table.metadata.get(k) != v for k, v in key.items()):
        raise InputError(f"{path} does not belong to these reports; delete it")
    return table


def _embed(
    source: TextSource,
    config: TextConfig,
    texts: pa.ChunkedArray,
    training: np.ndarray,
    key: dict[str, str],
    device: str,
) -> tuple[TextTable, dict[str, Any] | None]:
    encoded = texts.combine_chunks().dictionary_encode()  # numbered as they first come
    unique = encoded.dictionary.to_pylist()
    of_row = encoded.indices.to_numpy().astype(np.int64)
    made = source.embed(unique, [unique[place] for place in of_row[training]], device)
    if not np.isfinite(made.vectors).all():
        raise InputError(f"{source.identity['model']} gave non-finite text vectors; check it")
    is_empty = np.array([not text.strip() for text in unique])
    unit, has_vector = _unit_vectors(made.vectors, of_row[training], is_empty, config.center)
    with_vector = unit[of_row[training][has_vector[of_row[training]]]]
    if len(with_vector) == 0:
        raise InputError("no training report has a text vector; check the text column")
    new_place = np.where(has_vector, np.cumsum(has_vector) - 1, -1)
    metadata = key | {
        "dim": str(unit.shape[1]),
        "mean_pairwise_cosine": f"{_mean_pairwise_cosine(with_vector):.6f}",
        "truncated_share": f"{made.truncated / len(unique):.6f}",
        "without_vector": str(int((new_place[of_row] < 0).sum())),
    }
    embeddings = torch.from_numpy(unit[has_vector]).to(torch.float16)
    rows = torch.from_numpy(new_place[of_row].astype(np.int64))
    return TextTable(embeddings, rows, metadata), made.words


def _unit_vectors(
    vectors: np.ndarray, training: np.ndarray, is_empty: np.ndarray, center: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of unit length in float64, and which rows have a direction at all."""
    vectors = vectors.astype(np.float64)
    length = np.linalg.norm(vectors, axis=1)
    has_vector = (length > _ZERO * length.mean()) & ~is_empty
    with_vector = training[has_vector[training]]
    if center and len(with_vector):
        vectors = vectors - vectors[with_vector].mean(0)
        length = np.linalg.norm(vectors, axis=1)
        has_vector &= length > _ZERO * length.mean()
    return vectors / np.where(has_vector, length, 1)[:, None], has_vector


def _mean_pairwise_cosine(unit: np.ndarray) -> float:
    """The mean over all pairs i != j, from the sum vector: the pairs are never formed."""
    count = len(unit)
    if count < 2:
        return 1.0
    total = unit.sum(0)
    return float((total @ total - count) / (count * (count - 1)))


def _try_to_keep(path: Path, table: TextTable, words: dict[str, Any] | None) -> None:
    try:
        if words is not None:
            write_json(path.with_suffix(".vocabulary.json"), words)
        save_text_table(path, table)
    except InputError as error:  # shared, read-only data: the table is in memory all the same
        print(f"text table not kept for the next run: {error}")


def _line(table: TextTable, kept: bool, seconds: float) -> str:
    about = table.metadata
    without = f", {about['without_vector']} without a vector" * (about["without_vector"] != "0")
    again = " (kept from an earlier run)" * kept
    return (
        f"text {about['model']}: {len(table.rows):,} texts, {len(table.embeddings):,} unique, "
        f"dim {about['dim']}, mean pairwise cosine {float(about['mean_pairwise_cosine']):.4f}, "
        f"{float(about['truncated_share']):.1%} truncated{without}, {seconds:.1f} s{again}"
    )
