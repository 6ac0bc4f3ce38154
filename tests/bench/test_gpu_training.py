"""The plan of `make gpu` for training: what runs, and what is named instead."""

import subprocess
from pathlib import Path

import pytest

from bench import gpu_training
from bench.gpu_training import BATCHES, Planned, command, plan, run_plan, why_not

OUT, WORK = Path("out"), Path("work")


def options(part):
    line = command(part, OUT, WORK)
    return line[line.index("-m") :]


def test_every_batch_climbs_the_whole_ladder_into_its_own_folder():
    ladders = [part for part in plan() if part.name.startswith("ladder")]
    assert [part.options for part in ladders] == [("--batch", str(batch)) for batch in BATCHES]
    assert [part.folder for part in ladders] == ["", "batch-256", "batch-512"]


def test_the_feeds_are_compared_with_the_ladder_of_the_same_folder():
    first, last = plan()[0], plan()[-1]
    assert (first.module, last.module) == ("bench.train", "bench.feed")
    assert first.folder == last.folder == ""


def test_no_two_parts_write_into_one_file():
    places = [(part.module, part.folder) for part in plan()]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("part", plan(), ids=lambda part: part.name)
def test_a_part_runs_on_the_gpu_and_keeps_its_data(part):
    line = options(part)
    assert line[line.index("--device") + 1] == "cuda"
    assert ("--work" in line) == (part.module == "bench.train")
    assert Path(line[line.index("--out") + 1]).parts[0] == "out"


@pytest.mark.parametrize(
    "key, missing, reason",
    [
        (None, [], None),
        ("feed.there", [], None),
        ("feed.gone", [], "there is no feed.gone"),
        ("feed.there", ["hydra", "PIL"], "not installed: hydra, PIL"),
    ],
)
def test_a_part_without_its_key_or_packages_is_named(key, missing, reason):
    part = Planned("x", "bench.train", (), "x", key)
    assert why_not(part, missing, lambda asked: asked == "feed.there") == reason


def test_keys_are_asked_of_the_configuration():
    assert why_not(Planned("x", "bench.train", (), "x", "compute.channels_last"), []) is None
    assert why_not(Planned("x", "bench.train", (), "x", "compute.no_such"), []) is not None


def test_a_failing_part_is_named_and_the_rest_goes_on(monkeypatch):
    ran = []

    def run(line, **_):
        ran.append(line)
        return subprocess.CompletedProcess(line, int(len(ran) == 1))

    monkeypatch.setattr(gpu_training.subprocess, "run", run)
    monkeypatch.setattr(gpu_training, "_has_key", lambda key: key != "compute.cuda_graph")
    found = run_plan(OUT, WORK, Path(), {})
    assert len(found) == len(plan()) == len(ran) + 1
    assert found[0]["summary"] == "exit code 1" and found[1]["summary"] == "written"
    assert {one["summary"] for one in found if one["part"] == "CUDA graph"} == {
        "there is no compute.cuda_graph"
    }
