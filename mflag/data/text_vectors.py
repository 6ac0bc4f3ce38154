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
    TextEncoder,
    embed_batch,
    length_batches,
    load_text_encoder,
    tokenize,
)
from mflag.models.text_folder import (
    minilm_folder,
    model_settings,
    tokenizer_sha256,
    weights_sha256,
)
from mflag.models.text_hub import PUBLISHED, published_folder, published_lower_case
from mflag.runtime.progress import progress

NAMES = ("lsa", "minilm", *PUBLISHED, "folder")


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


def choose_text_source(config: TextConfig, cache: Path | None = None) -> TextSource:
    """Find what ``text.name`` or ``text.path`` asks for.

    Args:
        config: which encoder, and how.
        cache: folder for the safetensors form of weights that lie in a read-only folder.

    Raises:
        InputError: unknown name, missing package, folder or weights.
    """
    model = find_language_model(config)
    if model is None:
        return _lsa_source(config.dim)
    return _folder_source(*model, config, cache)


def find_language_model(config: TextConfig) -> tuple[str, Path] | None:
    """Return name and folder of the language model that a configuration asks for; None for lsa.

    Raises:
        InputError: unknown name, missing package or folder, or another model than was named.
    """
    path = None if config.path is None else Path(config.path)
    if config.name not in NAMES:
        raise InputError(f"text.name is {config.name!r}; choose one of {', '.join(NAMES)}")
    if config.name in PUBLISHED:
        folder = published_folder(config.name, path, config.download, config.revision)
        return config.name, folder
    if config.download:
        raise InputError(
            f"text.download is true, but text={config.name} is no model of the hub; take one of "
            f"{', '.join(PUBLISHED)}"
        )
    if path is not None:
        return path.name, path
    if config.name == "folder":
        raise InputError("text.path is null; text.name=folder needs text.path=FOLDER")
    return ("all-MiniLM-L6-v2", minilm_folder()) if config.name == "minilm" else None


def check_unfreezing(config: TextConfig) -> None:
    """Refuse a number of trained layers that the text encoder does not have.

    Raises:
        InputError: negative, with lsa, or more than there are.
    """
    count = config.unfreeze_last
    if count < 0:
        raise InputError(f"text.unfreeze_last is {count}; give 0 or more")
    if count == 0:
        return
    model = find_language_model(config)
    if model is None:
        raise InputError(
            f"text.unfreeze_last is {count}, but text=lsa has no layers; add text=minilm, or "
            "text=cxr_bert_general text.path=FOLDER"
        )
    layers = model_settings(model[1]).get("num_hidden_layers")
    if layers is not None and count > layers:
        raise InputError(
            f"text.unfreeze_last is {count}, but {model[0]} has {layers} layers; give 0 to {layers}"
        )


def embed_with_model(encoder: TextEncoder, texts: Sequence[str]) -> tuple[np.ndarray, int]:
    """Return (m, D) float32 raw vectors of texts, and how many texts were cut to ``max_length``.

    Args:
        encoder: a language model on any device.
        texts: in any order; batches hold texts of about equal length.
    """
    token_ids, truncated = tokenize(encoder, texts)
    vectors = np.empty((len(texts), encoder.model.config.hidden_size), np.float32)
    with progress("embed", "reports", len(texts)) as advance:
        for batch in length_batches([len(ids) for ids in token_ids]):
            found = embed_batch(encoder, [token_ids[place] for place in batch]).cpu().numpy()
            vectors[batch] = found
            advance(len(batch))
    return vectors, truncated


def _lsa_source(dim: int) -> TextSource:
    def embed(texts: Sequence[str], training: Sequence[str], device: str) -> TextVectors:
        made = embed_with_lsa(texts, training, dim)
        words = {"format": 1, "vocabulary": made.vocabulary, "idf": made.idf.tolist()}
        return TextVectors(made.vectors, 0, words)

    identity = {"model": "lsa", "revision": REVISION, "pooling": "", "max_length": ""}
    return TextSource(identity | {"most_dim": str(dim)}, embed)


def _folder_source(name: str, folder: Path, config: TextConfig, cache: Path | None) -> TextSource:
    lower_case = published_lower_case(config.name)

    def embed(texts: Sequence[str], training: Sequence[str], device: str) -> TextVectors:
        encoder = load_text_encoder(folder, config.pooling, config.max_length, cache, lower_case)
        encoder.model.to(device)
        vectors, truncated = embed_with_model(encoder, texts)
        return TextVectors(vectors, truncated)

    identity = {
        "model": name,
        "revision": weights_sha256(folder),
        "tokenizer": tokenizer_sha256(folder),
        "pooling": config.pooling,
        "max_length": str(config.max_length),
    }
    if lower_case is not None:
        identity["lower_case"] = str(lower_case).lower()
    return TextSource(identity, embed)
