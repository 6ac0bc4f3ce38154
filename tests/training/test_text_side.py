"""Which texts train, and which row has which."""

from typing import cast

import numpy as np
import pyarrow as pa
import pytest

from mflag.data.manifest import Prepared
from mflag.training.text_side import _training_texts


class Stub:
    """Rows 1 to 7 of eight train; the table as a whole cannot be asked for."""

    texts = ("other", "b", " ", "a", "b", "", "c", "a")

    def __len__(self):
        return len(self.texts)

    def rows(self, split):
        assert split == "train"
        return np.arange(1, 8)

    def column(self, name):
        assert name == "text"
        return pa.chunked_array([self.texts[:3], self.texts[3:]], self.kind)

    def __init__(self, kind):
        self.kind = kind


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_distinct_training_texts_keep_their_order_and_empty_ones_are_left_out(kind):
    texts, places = _training_texts(cast(Prepared, Stub(kind)))
    assert texts == ["b", "a", "c"]
    assert places.tolist() == [-1, 0, -1, 1, 0, -1, 2, 1]


def test_without_any_text_there_is_nothing(monkeypatch):
    monkeypatch.setattr(Stub, "texts", ("",) * 8)
    texts, places = _training_texts(cast(Prepared, Stub(pa.string())))
    assert (texts, places.tolist()) == ([], [-1] * 8)
