"""``model_card.md`` passes on what a reader of the weights must know about the data."""

from dataclasses import replace

import pytest

from mflag.config.train import TrainConfig
from mflag.training.model_card import write_model_card

FACTS = {"parameters": "few", "text": "lsa", "steps_per_epoch": 6, "world_size": 1, "lr": 0.1}


@pytest.mark.parametrize("remarks", [[], ["warning: 3 test patients are in train", "note: fine"]])
def test_the_card_repeats_the_warnings_of_prepare(prepared, tmp_path, remarks):
    (tmp_path / "encoder.safetensors").write_bytes(b"")
    known = replace(prepared, info=prepared.info | {"remarks": remarks})
    write_model_card(tmp_path, TrainConfig(), known, FACTS, {})
    card = (tmp_path / "model_card.md").read_text()
    assert ("Warning from prepare: 3 test patients are in train\n" in card) == bool(remarks)
    assert "fine" not in card
