"""Published models come from a folder, or from the hub when that is asked for."""

import dataclasses
import json

import huggingface_hub
import numpy as np
import pytest

from mflag.config.text import TextConfig
from mflag.data.text_vectors import choose_text_source, find_language_model
from mflag.errors import InputError
from mflag.models import text_hub
from tests.models.tiny_bert import write_bert, write_masked_lm


@pytest.fixture(autouse=True)
def forget_fetches():
    text_hub._fetch.cache_clear()


def write_published(folder, **settings):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_without_folder_the_files_to_fetch_are_named():
    with pytest.raises(InputError) as error:
        choose_text_source(TextConfig(name="cxr_bert_specialized", revision="v1.1"))
    for part in ("text.path=FOLDER", "FOLDER/config.json", "FOLDER/vocab.txt",
                 "FOLDER/pytorch_model.bin", "microsoft/BiomedVLP-CXR-BERT-specialized",
                 "v1.1", "text.download=true"):  # fmt: skip
        assert part in str(error.value)


def test_a_folder_of_the_named_model_is_taken(tmp_path):
    folder = write_published(tmp_path / "x", vocab_size=30522, model_type="cxr-bert")
    config = TextConfig(name="cxr_bert_specialized", path=str(folder))
    assert find_language_model(config) == ("cxr_bert_specialized", folder)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("cxr_bert_general", {"vocab_size": 28996, "model_type": "bert"}, "has vocab_size 28996"),
        ("cxr_bert_general", {"vocab_size": 30522, "model_type": "cxr-bert"}, "has model_type"),
        ("bio_clinicalbert", {"vocab_size": 30522}, "Bio_ClinicalBERT has 28996"),
    ],
)
def test_another_model_under_a_published_name_is_refused(tmp_path, name, settings, message):
    folder = write_published(tmp_path / "x", **settings)
    with pytest.raises(InputError, match=message):
        choose_text_source(TextConfig(name=name, path=str(folder)))


@pytest.mark.parametrize(("says", "keeps"), [(None, True), (True, False)])
def test_the_case_of_a_cased_model_is_kept_unless_its_tokenizer_says_otherwise(
    tmp_path, monkeypatch, says, keeps
):
    cased = dataclasses.replace(text_hub.PUBLISHED["bio_clinicalbert"], vocab_size=20)
    monkeypatch.setitem(text_hub.PUBLISHED, "bio_clinicalbert", cased)
    folder = write_masked_lm(tmp_path / "x")
    if says is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": says}))
    config = TextConfig(name="bio_clinicalbert", path=str(folder), max_length=32)
    lower, upper = choose_text_source(config).embed(["effusion", "Effusion"], [], "cpu").vectors
    assert np.allclose(lower, upper, atol=1e-5) != keeps


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="which is no model folder"):
        choose_text_source(TextConfig(name="bio_clinicalbert", path=str(tmp_path / "no")))


def test_a_download_asks_for_the_revision_and_says_the_commit(tmp_path, monkeypatch, capsys):
    asked = []

    def snapshot(hub, revision, allow_patterns):
        asked.append((hub, revision, allow_patterns[-1]))
        folder = tmp_path / "0123abc"
        if not folder.exists():
            write_bert(folder, vocab_size=28996)
            (folder / "model.safetensors").rename(folder / "other")
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    config = TextConfig(name="bio_clinicalbert", download=True, revision="v2")
    assert find_language_model(config) == find_language_model(config)
    hub = "emilyalsentzer/Bio_ClinicalBERT"
    assert asked == [(hub, "v2", "model.safetensors"), (hub, "v2", "pytorch_model.bin")]
    assert "text.revision=0123abc pins it" in capsys.readouterr().err


def test_a_hub_out_of_reach_is_one_error(monkeypatch):
    def snapshot(*_, **__):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(InputError, match=r"cannot be fetched \(no connection\).*text.path=FOLDER"):
        choose_text_source(TextConfig(name="cxr_bert_general", download=True))


def test_a_download_of_what_the_hub_has_not_is_refused():
    with pytest.raises(InputError, match="text=lsa is no model of the hub"):
        choose_text_source(TextConfig(download=True))
