"""A text encoder of BERT-base's size with random weights: the cost is that of a trained one."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

VOCABULARY, MAX_LENGTH = 30_522, 512
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_TEXTS_AT_ONCE = 8


def write_text_model(folder: Path, texts: list[str], layers: int = 12, seed: int = 0) -> Path:
    """Write config.json, tokenizer and weights, as ``text.path`` takes them; return the folder.

    Args:
        folder: is made.
        texts: their words are the vocabulary, filled up to BERT's size with words of no use.
        layers: 12 is BERT-base.
        seed: of the weights.
    """
    transformers = _transformers()
    words = sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    known = [*_SPECIAL, *words]
    known += [f"[unused{number}]" for number in range(VOCABULARY - len(known))]
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(known) + "\n")
    tokenizer = transformers.BertTokenizerFast(
        vocab=str(folder / "vocab.txt"), model_max_length=MAX_LENGTH
    )
    tokenizer.save_pretrained(folder)
    config = transformers.BertConfig(vocab_size=len(known), num_hidden_layers=layers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.BertModel(config, add_pooling_layer=False)
    model.save_pretrained(folder)
    return folder


class TextModel:
    """The encoder as the published loop calls it."""

    def __init__(self, folder: Path, texts: list[str], device: str) -> None:
        """Load what ``write_text_model`` wrote; ``texts`` are the reports, by row."""
        transformers = _transformers()
        self._tokenizer: Any = transformers.BertTokenizerFast.from_pretrained(folder)
        self._model: Any = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False)
        self._model.to(device).eval().requires_grad_(False)
        self._texts, self._device = texts, device
        self._table: Tensor | None = None
        self.parameters = sum(weight.numel() for weight in self._model.parameters())
        counts = [len(ids) for ids in self._tokenizer(texts)["input_ids"]]
        self.mean_tokens = sum(counts) / len(counts)

    @torch.no_grad()
    def embed(self, texts: list[str], padding: str) -> Tensor:
        """Tokenise and embed; return the first token's state, (B, 768)."""
        tokens = self._tokenizer(
            texts, truncation=True, max_length=MAX_LENGTH, padding=padding, return_tensors="pt"
        )
        ids, mask = (tokens[name].to(self._device) for name in ("input_ids", "attention_mask"))
        return self._model(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0].contiguous()

    @property
    def table(self) -> Tensor:
        """The vectors of all reports, (n, 768) float32, embedded when first asked for."""
        if self._table is None:
            parts = [
                self.embed(self._texts[start : start + _TEXTS_AT_ONCE], "longest").float()
                for start in range(0, len(self._texts), _TEXTS_AT_ONCE)
            ]
            self._table = torch.cat(parts)
        return self._table


def _transformers() -> Any:
    """Import it, which takes seconds, and keep its progress bars from the terminal."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    return transformers
