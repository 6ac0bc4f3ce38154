"""Which encoder a text configuration names, and its raw vectors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mflag.config.text import TextConfig
from mflag.data.text_lsa import REVISION, embed_with_lsa
from mflag.errors import InputError
from mflag.models.text_encoder import (
    embed_batch,
    length_batches,
    load_text_encoder,
    minilm_folder,
    tokenize,
    tokenizer_sha256,
    weights_sha256,
)
from mflag.runtime.progress import progress

NAMES = ("lsa", "minilm", "folder")


@dataclass(frozen=True)
class TextVectors:
    """Raw vectors of distinct texts.

    Attributes:
        vectors: (m, D) float, not normalised.
        truncated: texts of which only the beginning was read.
        words: vocabulary and idf, for encoders that are fitted on the reports.
    """

    vectors: np.ndarray
    truncated: int
    words: dict[str, Any] | None = None


@dataclass(frozen=True)
class TextSource:
    """An encoder that was found and checked, but not loaded.

    Attributes:
        identity: model, revision, pooling, max_length and the like: all that vectors depend on.
        embed: (distinct texts, training texts, device) to their vectors.
    """

    identity: dict[str, str]
    embed: Callable[[Sequence[str], Sequence[str], str], TextVectors]


def choose_text_source(config: TextConfig) -> TextSource:
    """Find what ``text.name`` or ``text.path`` asks for.

    Raises:
        InputError: unknown name, missing package, folder or weights.
    """
    if config.name not in NAMES:
        raise InputError(f"text.name is {config.name!r}; choose one of {', '.join(NAMES)}")
    if config.path is not None:
        return _folder_source(Path(config.path).name, Path(config.path), config)
    if config.name == "minilm":
        return _folder_source("all-MiniLM-L6-v2", minilm_folder(), config)
    if config.name == "folder":
        raise InputError("text.path is null; text.name=folder needs text.path=FOLDER")
    return _lsa_source(config.dim)


def _lsa_source(dim: int) -> TextSource:
    def embed(texts: Sequence[str], training: Sequence[str], device: str) -> TextVectors:
        made = embed_with_lsa(texts, training, dim)
        words = {"format": 1, "vocabulary": made.vocabulary, "idf": made.idf.tolist()}
        return TextVectors(made.vectors, 0, words)

    identity = {"model": "lsa", "revision": REVISION, "pooling": "", "max_length": ""}
    return TextSource(identity | {"most_dim": str(dim)}, embed)


def _folder_source(name: str, folder: Path, config: TextConfig) -> TextSource:
    def embed(texts: Sequence[str], training: Sequence[str], device: str) -> TextVectors:
        encoder = load_text_encoder(folder, config.pooling, config.max_length)
        encoder.model.to(device)
        token_ids, truncated = tokenize(encoder, texts)
        vectors = np.empty((len(texts), encoder.model.config.hidden_size), np.float32)
        with progress("embed", "reports", len(texts)) as advance:
            for batch in length_batches([len(ids) for ids in token_ids]):
                found = embed_batch(encoder, [token_ids[place] for place in batch]).cpu().numpy()
                vectors[batch] = found
                advance(len(batch))
        return TextVectors(vectors, truncated)

    identity = {
        "model": name,
        "revision": weights_sha256(folder),
        "tokenizer": tokenizer_sha256(folder),
        "pooling": config.pooling,
        "max_length": str(config.max_length),
    }
    return TextSource(identity, embed)
