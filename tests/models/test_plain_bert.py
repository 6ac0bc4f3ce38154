"""Published clinical BERTs load into a plain ``BertModel``, without their code."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from mflag.errors import InputError
from mflag.models import plain_bert
from mflag.models.plain_bert import plain_names
from mflag.models.text_encoder import embed_batch, load_text_encoder, tokenize
from mflag.models.text_folder import weights_sha256
from tests.models.tiny_bert import write_bert, write_masked_lm

TEXTS = ["the lungs are clear", "no effusion", "the heart is enlarged . small left nodule seen ."]


def embed(folder, pooling="cls", cache=None):
    encoder = load_text_encoder(folder, pooling, 32, cache)
    return embed_batch(encoder, tokenize(encoder, TEXTS)[0])


def converted(folder):
    return list(folder.glob("pytorch_model.*.converted.safetensors"))


@pytest.mark.parametrize("cxr", [False, True], ids=["masked-lm", "cxr-bert"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_masked_lm_gives_the_vectors_of_its_trunk(tmp_path, cxr, pooling):
    folder = write_masked_lm(tmp_path / "model", cxr=cxr)
    torch.testing.assert_close(
        embed(folder, pooling), embed(folder / "trunk", pooling), rtol=0, atol=0
    )


def test_stripping_the_prefix_and_from_pretrained_give_equal_weights(tmp_path):
    folder = write_masked_lm(tmp_path / "model")
    stripped = load_text_encoder(folder, "cls", 32).model.state_dict()
    theirs = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).state_dict()
    assert stripped.keys() == theirs.keys()
    assert all(torch.equal(stripped[name], theirs[name]) for name in theirs)


def test_the_first_token_and_the_mean_differ(tmp_path):
    folder = write_bert(tmp_path / "model")
    assert float((embed(folder, "cls") - embed(folder, "mean")).abs().max()) > 1e-3


def test_a_bin_file_is_converted_once_beside_itself(tmp_path, monkeypatch):
    folder = write_masked_lm(tmp_path / "model", cxr=True)
    before, first = weights_sha256(folder), embed(folder)
    assert len(converted(folder)) == 1
    assert not any(name.startswith("cls") for name in load_file(converted(folder)[0]))
    monkeypatch.setattr(plain_bert, "_read_bin", lambda path: pytest.fail("read again"))
    assert torch.equal(embed(folder), first)
    assert weights_sha256(folder) == before


def test_a_read_only_folder_is_converted_in_the_cache(tmp_path, monkeypatch):
    folder, cache = write_masked_lm(tmp_path / "model"), tmp_path / "cache"
    write = plain_bert.write_tensors

    def write_outside_of_the_folder(path, *rest):
        if path.parent == folder:
            raise InputError(f"cannot write {path}: Read-only file system")
        write(path, *rest)

    monkeypatch.setattr(plain_bert, "write_tensors", write_outside_of_the_folder)
    first = embed(folder, cache=cache)
    assert (len(converted(folder)), len(converted(cache))) == (0, 1)
    monkeypatch.setattr(plain_bert, "_read_bin", lambda path: pytest.fail("read again"))
    assert torch.equal(embed(folder, cache=cache), first)


def test_other_weights_of_the_same_name_are_converted_anew(tmp_path):
    folder = write_masked_lm(tmp_path / "model")
    first = embed(folder)
    write_masked_lm(folder, seed=1)
    assert not torch.equal(embed(folder), first)


def test_names_of_data_parallel_and_shared_memory_load_all_the_same(tmp_path):
    folder = write_masked_lm(tmp_path / "model")
    expected = embed(folder)
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    first = "bert.encoder.layer.0.output.dense.bias"
    both = torch.cat([tensors[first], tensors["bert.encoder.layer.1.output.dense.bias"]])
    tensors[first], tensors["bert.encoder.layer.1.output.dense.bias"] = both.chunk(2)
    torch.save({f"module.{k}": v for k, v in tensors.items()}, folder / "pytorch_model.bin")
    assert torch.equal(embed(folder), expected)
    assert len(converted(folder)) == 2


def test_nothing_is_kept_of_weights_that_do_not_fit(tmp_path):
    folder = write_masked_lm(tmp_path / "model")
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save({**tensors, "adapter.weight": torch.ones(2)}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"hold 1 tensor that a BERT has not"):
        embed(folder)
    assert not converted(folder)


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[: len(content) // 2], lambda _: b"", lambda _: b"<html>" * 50],
    ids=["half", "empty", "page"],
)
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_damaged_bin_file_is_called_damaged(tmp_path, damage, is_zip):
    folder = write_masked_lm(tmp_path / "model")
    file = folder / "pytorch_model.bin"
    tensors = torch.load(file, weights_only=True)
    torch.save(tensors, file, _use_new_zipfile_serialization=is_zip)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match="cut short, damaged or no file of torch.save"):
        embed(folder)


@pytest.mark.parametrize(
    "setting",
    [
        {"hidden_size": "32"},
        {"num_hidden_layers": [2]},
        {"hidden_act": "sigh"},
        {"num_attention_heads": 0},
        {"vocab_size": -1},
        {"hidden_dropout_prob": None},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_an_unusable_setting_of_config_json_is_refused(tmp_path, setting):
    folder = write_bert(tmp_path / "model", **setting)
    with pytest.raises(InputError, match="config.json cannot be loaded: it describes no BERT"):
        embed(folder)


def test_names_of_tensorflow_are_translated():
    one = torch.ones(1)
    names = plain_names({"bert.embeddings.LayerNorm.gamma": one, "bert.pooler.dense.bias": one})
    assert list(names) == ["embeddings.LayerNorm.weight"]


@pytest.mark.parametrize("lowers", [True, False])
def test_case_is_kept_when_the_tokenizer_says_so(tmp_path, lowers):
    folder = write_masked_lm(tmp_path / "model")
    if not lowers:
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    encoder = load_text_encoder(folder, "cls", 32)
    (ids,), _ = tokenize(encoder, ["Effusion"])
    assert (ids[1] != encoder.tokenizer.unk_token_id) == lowers


def test_a_config_without_model_type_is_a_bert(tmp_path):
    folder = write_bert(tmp_path / "model")
    expected = embed(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["model_type"]
    (folder / "config.json").write_text(json.dumps(config))
    assert torch.equal(embed(folder), expected)


def lacking(tensors, config):
    del tensors["encoder.layer.1.output.dense.bias"]


def holding_more(tensors, config):
    tensors["adapter.weight"] = torch.ones(2)


def of_other_shape(tensors, config):
    config["intermediate_size"] = 48


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lacking, r"lack 1 tensor \(encoder.layer.1.output.dense.bias\)"),
        (holding_more, r"hold 1 tensor that a BERT has not \(adapter.weight\)"),
        (of_other_shape, r"have 6 tensors of another shape than config.json says \(.*, …\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, change, message):
    folder = write_bert(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    change(tensors, config)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=message):
        embed(folder)


@pytest.mark.parametrize("words", [["no"], [f"word{n}" for n in range(40)]], ids=["few", "many"])
def test_the_tokenizer_of_another_model_is_refused(tmp_path, words):
    folder = write_masked_lm(tmp_path / "model")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join(special + words))
    if len(words) > 1:
        with pytest.raises(InputError, match="has 45 words but its model embeds 20"):
            embed(folder)
    else:  # as few as padding to a multiple of 128 explains
        assert embed(folder).shape == (3, 32)


def test_a_bin_file_that_is_no_table_of_tensors_is_refused(tmp_path):
    folder = write_masked_lm(tmp_path / "model")
    torch.save([torch.ones(2)], folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="it is no table of tensors"):
        embed(folder)
