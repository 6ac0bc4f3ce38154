"""Published models come from a folder, or from the hub when that is asked for."""

import json

import huggingface_hub
import pytest

from mflag.config.text import TextConfig
from mflag.data.text_vectors import choose_text_source, find_language_model
from mflag.errors import InputError
from mflag.models import text_hub
from tests.models.tiny_bert import write_bert


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
