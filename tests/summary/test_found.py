import json
import shutil

import pytest

from mflag.errors import InputError
from mflag.summary.found import find
from tests.summary.written_runs import copy_evaluation, write, write_ablation, write_data, write_log


def names(findings, kind):
    return [item.name for item in findings.of(kind)]


def test_everything_below_a_folder_is_found_by_kind(lab):
    found = find([lab])
    assert names(found, "data") == ["data", "hostile", "other/data"]
    assert names(found, "evaluation") == [
        "evaluations/nih/three", "evaluations/odd", "evaluations/one",
        "evaluations/two",
    ]  # fmt: skip
    assert names(found, "analysis") == ["analyses/first", "analyses/second"]
    assert names(found, "ablation") == ["table4"]
    assert found.unknown == ["bench/kernels.json"]


def test_runs_of_an_ablation_are_a_part_of_it(lab):
    found = find([lab])
    assert found.inside == {"table4": 2}
    assert not any(item.name.startswith("table4/") for item in found.items)


def test_data_inside_an_ablation_are_still_shown(tmp_path):
    write_ablation(tmp_path)
    write_data(tmp_path / "data")
    assert names(find([tmp_path]), "data") == ["data"]


def test_a_folder_inside_another_is_read_once(lab):
    once, twice = find([lab]), find([lab, lab / "data"])
    assert len(twice.items) == len(once.items)


def test_several_folders_are_told_apart_by_as_little_as_needed(tmp_path):
    folders = [tmp_path / "a" / "runs", tmp_path / "b" / "runs"]
    for folder in folders:
        write_log(folder / "mflag")
    assert names(find(folders), "run") == ["a/runs/mflag", "b/runs/mflag"]


def test_no_name_holds_the_place_of_the_folder(lab):
    assert not any(str(lab.parent) in item.name for item in find([lab]).items)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "cut short"),
        (lambda text: text.replace('"format": 1', '"format": 7', 1), "format 7"),
        (lambda text: text.replace('"encoders"', '"coders"', 1), "lacks encoders"),
        (lambda text: "[1, 2]", "no object"),
        (lambda text: "", "cut short"),
        (lambda text: "[" * 100_000, "cut short"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(made, tmp_path, damage, message):
    copy_evaluation(made, tmp_path)
    path = tmp_path / "results.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=message) as refused:
        find([tmp_path])
    assert str(path) in str(refused.value)
    assert "mflag.evaluate" in str(refused.value)


def test_bytes_that_are_no_text_are_an_error(tmp_path):
    (tmp_path / "analysis.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"analysis\.json is cut short or damaged"):
        find([tmp_path])


@pytest.mark.parametrize("what", ["missing", "a file", "nothing"])
def test_a_folder_that_cannot_serve_is_refused(tmp_path, what):
    folder = tmp_path / "x"
    if what == "a file":
        folder.write_text("")
    if what == "nothing":
        folder.mkdir()
    with pytest.raises(InputError, match=what):
        find([folder])


def test_files_of_no_known_kind_alone_are_nothing_to_report(tmp_path):
    write(tmp_path / "kernels.json", {"rows": []})
    with pytest.raises(InputError, match="holds nothing"):
        find([tmp_path])


def test_an_empty_folder_beside_a_full_one_is_refused(lab, tmp_path):
    with pytest.raises(InputError, match="holds nothing"):
        find([lab, tmp_path])


def test_checkpoints_and_hidden_folders_are_not_entered(tmp_path):
    write_log(tmp_path / "run")
    for name in ("checkpoints", "tensorboard", ".git"):
        write(tmp_path / name / "results.json", "{")
    assert len(find([tmp_path]).items) == 1


def test_a_link_that_leads_back_ends(tmp_path):
    write_log(tmp_path / "run")
    (tmp_path / "run" / "again").symlink_to(tmp_path)
    assert len(find([tmp_path]).items) == 1


def test_a_copy_elsewhere_is_found_too(made, tmp_path):
    copy_evaluation(made, tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert names(find([tmp_path]), "evaluation") == ["a", "b"]
    assert json.loads((tmp_path / "a/results.json").read_text())["format"] == 1
