"""What the frozen layers below the trained ones make of every text: computed once, kept."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mflag.errors import InputError
from mflag.models.text_encoder import length_batches, pad_tokens
from mflag.models.tokens import Tokens

MEMORY = Path("/proc/meminfo")


class LowerStates:
    """Hidden states of all tokens of all texts, in the main memory.

    Attributes:
        size_bytes: of the states, 4 · tokens · D.
    """

    def __init__(self, model: Any, tokens: Tokens, last: int, padding: int) -> None:
        """Run the lower layers over every text, without dropout.

        Args:
            model: a BERT in eval mode, on the device that computes.
            tokens: of all texts.
            last: how many layers stay above.
            padding: token id that pads.

        Raises:
            InputError: the states would not fit into the free memory.
        """
        width = int(model.config.hidden_size)
        self.size_bytes = 4 * width * int(tokens.lengths.sum())
        _refuse_beyond_memory(self.size_bytes)
        self._states = torch.empty(int(tokens.lengths.sum()), width)
        self._starts, self._lengths = tokens.starts, tokens.lengths
        layers = model.encoder.layer
        model.encoder.layer = layers[: len(layers) - last]
        try:
            for part in length_batches(tokens.lengths.tolist()):
                self._fill(model, tokens, part, padding)
        finally:
            model.encoder.layer = layers

    def padded(self, texts: Tensor) -> Tensor:
        """Return the states of texts, (b, longest, D) float32 on the CPU, zeros behind each end."""
        rows = [self._of(int(text)) for text in texts]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    @torch.no_grad()
    def _fill(self, model: Any, tokens: Tokens, part: list[int], padding: int) -> None:
        device = next(model.parameters()).device
        ids, mask = pad_tokens([tokens[text] for text in part], padding)
        found = model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
        for text, states in zip(part, found.float().cpu(), strict=True):
            self._of(text).copy_(states[: self._lengths[text]])

    def _of(self, text: int) -> Tensor:
        start = int(self._starts[text])
        return self._states[start : start + int(self._lengths[text])]


def run_upper(model: Any, layers: Any, states: Tensor, mask: Tensor) -> Tensor:
    """Return the last hidden states from those below ``layers``: (b, length, D) both.

    Args:
        model: the BERT that ``layers`` are the last of.
        layers: ModuleList.
        states: float32, on the model's device.
        mask: (b, length), 1 where a token is.
    """
    attends = mask[:, None, None, :].bool()
    if model.config._attn_implementation != "sdpa":  # others add the mask to the scores
        attends = states.new_zeros(attends.shape).masked_fill(~attends, torch.finfo().min)
    every = model.encoder.layer
    model.encoder.layer = layers
    try:
        return model.encoder(states, attention_mask=attends).last_hidden_state
    finally:
        model.encoder.layer = every


def _refuse_beyond_memory(size_bytes: int) -> None:
    if not MEMORY.is_file():  # not Linux: the allocation itself tells
        return
    figures = dict(line.split(":") for line in MEMORY.read_text().splitlines())
    free = 1024 * int(figures["MemAvailable"].split()[0])
    if size_bytes > free:
        raise InputError(
            f"text.keep_lower is true, but the states of the frozen layers take "
            f"{size_bytes / 1e9:.1f} GB of {free / 1e9:.1f} GB free memory; set it to false"
        )
