"""Frozen BERT-like text encoders from local folders, by plain transformers."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mflag.errors import InputError
from mflag.models.plain_bert import MODEL_TYPES, is_plain_bert, load_plain_bert
from mflag.models.text_folder import model_settings, weights_files
from mflag.runtime.environment import environment

# Keep the hub's client from the network, and its chatter from the terminal.
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
POOLINGS = ("mean", "cls")
# Bounds the memory of one batch; on a CPU larger batches are no faster.
TOKENS_PER_BATCH = 4096
_NOT_LOADABLE = (
    OSError, ValueError, KeyError, ImportError, RuntimeError, EOFError,
    SafetensorError, pickle.UnpicklingError,
)  # fmt: skip
# Vocabularies are padded up to a multiple of 128 for the sake of matrix units, no further.
_PADDED_VOCABULARY = 127


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


def load_text_encoder(
    folder: Path | str,
    pooling: str,
    max_length: int,
    cache: Path | None = None,
    lower_case: bool | None = None,
) -> TextEncoder:
    """Load a local model without network and without code from its folder.

    Args:
        folder: config.json, tokenizer files, and model.safetensors or pytorch_model.bin.
        pooling: ``mean`` or ``cls``.
        max_length: tokens kept of a text.
        cache: folder that keeps a .bin file's safetensors form when the model's own cannot.
        lower_case: of the text of a BERT whose folder has no tokenizer_config.json; None leaves
            it to transformers, which lower-cases.

    Raises:
        InputError: no such folder, not a BERT-like model, weights missing, damaged or of another
            model than the tokenizer, or max_length beyond what the model was trained for.
    """
    folder = Path(folder)
    if pooling not in POOLINGS:
        raise InputError(f"text.pooling is {pooling!r}; choose one of {', '.join(POOLINGS)}")
    weights_files(folder)
    # What is drawn before the weights are read must not move a run's own random numbers.
    with environment(**_OFFLINE), torch.random.fork_rng(devices=[]):
        try:
            model, tokenizer = _load(folder, cache, lower_case)
        except InputError:
            raise
        except _NOT_LOADABLE as error:
            raise InputError(
                f"{folder} cannot be loaded by transformers without remote code "
                f"({' '.join(str(error).split())[:300]}); give a folder of model_type "
                f"{', '.join(MODEL_TYPES)} or another encoder that transformers has built in"
            ) from error
    _check_vocabulary(folder, len(tokenizer), model.config.vocab_size)
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
    padding = encoder.tokenizer.pad_token_id or 0
    ids, mask = (tensor.to(device) for tensor in pad_tokens(token_ids, padding))
    hidden = encoder.model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
    return pool(hidden, mask, encoder.pooling)


def pad_tokens(token_ids: Sequence[ArrayLike], padding: int) -> tuple[Tensor, Tensor]:
    """Return ids and attention mask, (b, longest) int64 each, on the CPU."""
    rows = [torch.as_tensor(tokens, dtype=torch.int64) for tokens in token_ids]
    ids = pad_sequence(rows, batch_first=True, padding_value=padding)
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return ids, mask


def pool(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Return one vector a text: (b, length, D) to (b, D).

    Args:
        hidden: the last layer's states, float32.
        mask: (b, length), 1 where a token is.
        pooling: ``mean`` over the tokens, or ``cls``, the first.
    """
    if pooling == "cls":
        return hidden[:, 0]
    weight = mask[..., None].float()
    return (hidden * weight).sum(1) / weight.sum(1)


def _load(folder: Path, cache: Path | None, lower_case: bool | None) -> tuple[Any, Any]:
    import transformers  # seconds: only for who embeds with a language model

    settings = model_settings(folder)
    if is_plain_bert(settings):
        # The fast class by name: a tokenizer_config.json may name one of remote code.
        is_told = lower_case is None or (folder / "tokenizer_config.json").is_file()
        case = {} if is_told else {"do_lower_case": lower_case}
        tokenizer = transformers.BertTokenizerFast.from_pretrained(
            folder, local_files_only=True, **case
        )
        return load_plain_bert(folder, settings, cache), tokenizer
    plain = {"local_files_only": True, "trust_remote_code": False}
    model, found = transformers.AutoModel.from_pretrained(
        folder,
        **plain,
        use_safetensors=weights_files(folder)[0].suffix != ".bin",
        weights_only=True,
        dtype=torch.float32,
        output_loading_info=True,
    )
    if model.config.is_encoder_decoder:
        raise ValueError("it is an encoder with a decoder")
    missing = [name for name in found["missing_keys"] if not name.startswith("pooler.")]
    if missing:
        raise ValueError(f"its weights lack {len(missing)} tensors, for one {sorted(missing)[0]}")
    return model, transformers.AutoTokenizer.from_pretrained(folder, **plain)


def _check_vocabulary(folder: Path, words: int, embedded: int) -> None:
    if not words <= embedded <= words + _PADDED_VOCABULARY:
        raise InputError(
            f"the tokenizer of {folder} has {words} words but its model embeds {embedded}; take "
            "tokenizer files and weights of one model"
        )
