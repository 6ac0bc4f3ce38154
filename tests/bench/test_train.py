"""bench.train from the command line: what it refuses, and a whole small run."""

import json

import pytest

from bench import train


def call(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["bench.train", *map(str, arguments)])
    train.main()


@pytest.mark.parametrize(
    "arguments, message",
    [(("--only", "published,no such"), "'no such' is unknown"), (("--device", "tpu"), "tpu")],
)
def test_what_cannot_run_is_refused_before_any_work(
    monkeypatch, tmp_path, capsys, arguments, message
):
    with pytest.raises(SystemExit) as refused:
        call(monkeypatch, "--out", tmp_path / "out", *arguments)
    assert refused.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_small_run_leaves_figures_a_page_and_a_plot(monkeypatch, tmp_path):
    small = ("--batch", 4, "--image-size", 64, "--studies", 12, "--layers", 1)
    few = ("--turns", 1, "--feed-turns", 1, "--only", "published,published_tuned,text table,last")
    call(monkeypatch, "--work", tmp_path / "work", "--out", tmp_path, *small, *few)
    content = json.loads((tmp_path / "train.json").read_text())
    assert [row["name"] for row in content["peers"]] == ["published_tuned"]
    names = [row["name"] for row in content["rungs"]]
    assert names[:2] == ["published", "text table"] and len(names) == 3
    assert all(row["images_per_second"] > 0 for row in content["rungs"])
    assert all(row["peak_memory_bytes"] > 0 for row in content["rungs"])
    assert content["rungs"][0]["faster_than"]["published"] == 1
    assert sum(row["share"] for row in content["profile"]) == pytest.approx(1)
    assert 0 < content["step_parts"]["share"] and 0 < content["mfu"]
    assert all(one["verdict"] in ("PASS", "FAIL") for one in content["targets"])
    assert (tmp_path / "train.svg").is_file()
    assert "one-channel stem" in (tmp_path / "train.md").read_text()
