"""A raw tree is whole or absent, the same every time, and never takes the place of real data."""

import hashlib
import json
from pathlib import Path

import pytest

from mflag.config.prepare import DatasetConfig, PhantomConfig, PrepareConfig
from mflag.data.datasets.phantom import read
from mflag.data.phantom_formats import FORMATS, tree, write_format
from mflag.errors import InputError


def content(folder: Path) -> dict[str, str]:
    """sha256 of every file by its path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.mark.parametrize("kind", FORMATS)
def test_equal_seed_and_size_give_equal_bytes(write, kind):
    first, second = write(kind, out="first"), write(kind, out="second")
    assert content(first) == content(second)
    assert len(content(first)) > 6


def test_the_number_of_workers_changes_no_byte(tmp_path, write):
    config = PrepareConfig(
        dataset=DatasetConfig(name="phantom", size=20, seed=1),
        phantom=PhantomConfig(format="chexpert"),
        out=str(tmp_path / "two"),
        workers=2,
    )
    write_format(config)
    assert content(tmp_path / "two") == content(write("chexpert", 20, 1))


def test_a_study_is_the_same_in_a_larger_tree(write):
    small, large = content(write("nih", 4, out="small")), content(write("nih", 8, out="large"))
    images = {path for path in small if path.endswith(".png")}
    assert all(small[path] == large[path] for path in images)


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(write, monkeypatch, tmp_path):
    whole = content(write("csv", 40, out="whole"))
    original, started = tree._write_chunk, []

    def killed(kind, folder, chunk, studies):
        if chunk == 2:
            raise KeyboardInterrupt
        return original(kind, folder, chunk, studies)

    def counted(kind, folder, chunk, studies):
        started.append(chunk)
        return original(kind, folder, chunk, studies)

    monkeypatch.setattr(tree, "_write_chunk", killed)
    with pytest.raises(KeyboardInterrupt):
        write("csv", 40)
    assert not (tmp_path / "raw").exists()
    notes = tmp_path / ".raw.part" / "done.jsonl"
    notes.write_text(notes.read_text() + '{"chunk": 1, "ro')  # the kill cut a line short
    monkeypatch.setattr(tree, "_write_chunk", counted)
    assert content(write("csv", 40)) == whole
    assert started == [2]
    assert not (tmp_path / ".raw.part").exists()


def test_a_finished_tree_is_not_written_again(write, monkeypatch):
    folder = write("csv", 3)
    before = (folder / "studies.csv").stat().st_mtime_ns
    assert write("csv", 3) == folder
    assert (folder / "studies.csv").stat().st_mtime_ns == before


def test_another_tree_is_replaced_only_when_asked(write):
    write("csv", 3)
    with pytest.raises(InputError, match="of other options .*overwrite=true"):
        write("csv", 4)
    folder = write("csv", 4, overwrite=True)
    assert json.loads((folder / "generated.json").read_text())["dataset.size"] == 4


def test_a_folder_that_may_be_the_real_dataset_is_never_touched(write, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "train.csv").write_text("Path\n")
    with pytest.raises(InputError, match="holds no generated tree; choose another out"):
        write("chexpert", overwrite=True)
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["train.csv"]


def test_an_unfinished_run_of_other_options_is_refused(write, tmp_path):
    (tmp_path / ".raw.part").mkdir()
    (tmp_path / ".raw.part" / "request.json").write_text('{"dataset.size": 9}')
    with pytest.raises(InputError, match="unfinished run with other options"):
        write("csv", 3)
    assert write("csv", 3, overwrite=True).is_dir()


@pytest.mark.parametrize(
    ("dataset", "kind", "message"),
    [
        (
            {"name": "phantom", "size": 3, "seed": 0},
            "padchest",
            "choose one of mimic_cxr, chexpert",
        ),
        ({"name": "csv"}, "nih", "dataset=csv generates nothing"),
        ({"name": "phantom", "size": 0, "seed": 0}, "nih", "dataset.size is 0"),
        ({"name": "phantom", "size": 3, "seed": -1}, "nih", "dataset.seed is -1"),
        ({"name": "phantom", "size": 3, "seed": 0, "labels": "negbio"}, "nih", "does not read it"),
    ],
    ids=["format", "dataset", "size", "seed", "key"],
)
def test_what_cannot_be_written_is_refused_at_once(tmp_path, dataset, kind, message):
    config = PrepareConfig(
        dataset=DatasetConfig(**dataset), phantom=PhantomConfig(kind), out=str(tmp_path / "raw")
    )
    with pytest.raises(InputError, match=message):
        write_format(config)
    assert list(tmp_path.iterdir()) == []


def test_preparing_refuses_a_format(tmp_path):
    config = PrepareConfig(
        dataset=DatasetConfig(name="phantom", size=3, seed=0), phantom=PhantomConfig("nih")
    )
    with pytest.raises(InputError, match="phantom.format is 'nih'"):
        read(config)
