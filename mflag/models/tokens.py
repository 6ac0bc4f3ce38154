"""The token ids of a run's texts, made once and kept."""

from collections.abc import Sequence

import numpy as np

from mflag.models.text_encoder import TextEncoder, tokenize

_TEXTS_AT_ONCE = 10_000  # Python's integers take nine times the memory of the kept ones


class Tokens:
    """The token ids of many texts in one array.

    Attributes:
        lengths: (m,) int64, tokens of each text.
        starts: (m,) int64, where each text begins among all tokens.
        truncated: texts that were cut to the encoder's ``max_length``.
    """

    def __init__(self, encoder: TextEncoder, texts: Sequence[str]) -> None:
        """Tokenise once, in the order of ``texts``."""
        parts, lengths, self.truncated = [], [], 0
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            token_ids, truncated = tokenize(encoder, texts[start : start + _TEXTS_AT_ONCE])
            parts += [np.array(ids, np.int32) for ids in token_ids]
            lengths += [len(ids) for ids in token_ids]
            self.truncated += truncated
        self._flat = np.concatenate(parts) if parts else np.empty(0, np.int32)
        self.lengths = np.array(lengths, np.int64)
        self.starts = np.cumsum(self.lengths) - self.lengths

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.lengths)

    def __getitem__(self, text: int) -> np.ndarray:
        """The (length,) int32 token ids of a text."""
        start = self.starts[text]
        return self._flat[start : start + self.lengths[text]]
