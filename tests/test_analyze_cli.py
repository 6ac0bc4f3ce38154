"""``python -m mflag.analyze`` as people call it."""

import json
import re
import shutil

import numpy as np
import pytest
import torch

from mflag.analyze import main
from mflag.config.analyze import AnalyzeConfig
from mflag.data.manifest import open_prepared
from mflag.downstream.encoders import load_encoders
from mflag.downstream.features import embed
from mflag.models import build_encoder
from mflag.models.encoder_file import save_encoder
from tests.evaluate_program import SPLITS, call_program, write_prepared
from tests.reporting.test_page import Balance
from tests.run_files import write_run

ATTACK = "</script><script>alert(1)</script>"


def call(*arguments):
    return call_program([*arguments, "imagenet=false"], ("analyze", main, AnalyzeConfig))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    ages = np.linspace(20, 80, len(SPLITS)).astype(np.float32)
    return write_prepared(
        tmp_path_factory.mktemp("data") / "prepared",
        "csv",
        **{
            f"label/{ATTACK}": (np.arange(len(SPLITS)) % 3 - 1).astype(np.float32),
            "view": np.where(np.arange(len(SPLITS)) % 2, "AP", "PA"),
            "age": ages,
            "attribute/rotation": ages[::-1].copy(),
            "text": [f"finding {k} and word{k % 7}" for k in range(len(SPLITS))],
        },
    )


@pytest.fixture(scope="module")
def run_file(prepared, tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "mine", prepared)


@pytest.fixture(scope="module")
def analysis(prepared, run_file, tmp_path_factory):
    """Folder of one analysis: a run, an encoder of another size without a run, random."""
    folder = tmp_path_factory.mktemp("analysis")
    torch.manual_seed(2)
    other = folder / "wide" / "encoder.safetensors"
    save_encoder(other, build_encoder("resnet50"), "resnet50", 32)
    files = f"encoders={{mine:{run_file},wide:{other}}}"
    assert call(f"data.path={prepared}", files, f"out={folder / 'out'}", "points=15") == 0
    return folder / "out"


@pytest.fixture(scope="module")
def results(analysis):
    return json.loads((analysis / "analysis.json").read_text())


@pytest.fixture(scope="module")
def page(analysis):
    return (analysis / "analysis.html").read_text()


def test_an_analysis_leaves_exactly_these_files(analysis):
    assert sorted(p.name for p in analysis.iterdir()) == ["analysis.html", "analysis.json", "plots"]
    names = {p.stem for p in (analysis / "plots").iterdir()}
    assert names == {
        "singular_spectrum", "pca", "trajectory_loss", "trajectory_effective_rank",
        "trajectory_top_singular_share",
    }  # fmt: skip
    assert {p.suffix for p in (analysis / "plots").iterdir()} == {".svg", ".png"}


def test_encoders_of_different_width_stand_side_by_side(results, prepared, run_file):
    rows = {row["encoder"]: row for row in results["rows"]}
    assert {name: row["dimensions"] for name, row in rows.items()} == {
        "mine": 512, "wide": 2048, "random": 512,
    }  # fmt: skip
    for row in rows.values():
        assert row["n"] == row["rank_cap"] == 20
        assert len(row["log10_spectrum"]) == 20 and row["log10_spectrum"][-1] is None  # centred
        assert row["pca_shares"] == sorted(row["pca_shares"], reverse=True)
    data, mine = open_prepared(prepared), load_encoders({"mine": str(run_file)})[0]
    latents = embed(data.images, data.rows("test"), mine, torch.device("cpu"), 64)
    singular = np.linalg.svd(latents.astype(np.float64), compute_uv=False)
    shares = singular / singular.sum() + 1e-7  # RankMe, eq. 1
    assert rows["mine"]["rankme"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_alignment_needs_a_run_and_what_lacks_one_is_named(results):
    rows = {row["encoder"]: row for row in results["rows"]}
    # The projector was fitted to these very pairs.
    assert rows["mine"]["alignment"] < 0.05 and rows["mine"]["alignment_pairs"] == 20
    assert rows["wide"]["alignment"] is None
    assert "no alignment for wide: no projector.safetensors beside the encoder" in results["notes"]


def test_the_log_and_the_checkpoints_of_a_run_become_its_trajectory(results):
    run = results["trajectory"]["runs"]["mine"]
    assert run["step"] == list(range(1, 11))
    assert run["effective_rank"] == [1.0 + step for step in run["step"]]
    assert "orthogonality_share" not in run  # never measured
    points = results["trajectory"]["checkpoints"]["mine"]
    assert [point["step"] for point in points] == [5, 10]
    assert points[0]["rankme"] != points[1]["rankme"]


def test_points_can_be_coloured_by_findings_circumstances_and_attributes(results):
    points = results["points"]
    kinds = {group["name"]: group["kind"] for group in points["groups"]}
    assert kinds == {
        "disc": "finding", ATTACK: "finding", "view": "circumstance", "age": "circumstance",
        "rotation": "attribute",
    }  # fmt: skip
    for group in points["groups"]:
        assert len(group["of_point"]) == 15
        assert set(group["of_point"]) <= set(range(len(group["values"])))
    assert {name: np.shape(c) for name, c in points["coordinates"].items()} == dict.fromkeys(
        ("mine", "wide", "random"), (15, 3)
    )


def test_results_name_no_place_on_this_machine(results, prepared):
    results = {key: value for key, value in results.items() if key != "command"}
    assert str(prepared.parent.parent) not in json.dumps(results)


def test_the_page_holds_names_of_the_data_only_as_text(page):
    assert "<script>alert" not in page and "</script><script>" not in page
    assert len(re.findall("<script", page)) == 3  # two sets of values and one program


def test_the_page_fetches_nothing_and_is_balanced(page):
    assert not re.search(r"https?:|@import|url\((?!#)|<link|\bsrc=", page)
    balance = Balance()
    balance.feed(page)
    assert balance.open == []


def test_the_page_shows_still_pictures_where_no_script_runs(page):
    assert page.count("<noscript><figure") == 2
    assert page.count('role="img"') >= 5


def test_equal_commands_give_equal_results(prepared, run_file, results, tmp_path):
    code = call(
        f"data.path={prepared}", f"encoders={{mine:{run_file}}}", f"out={tmp_path}", "points=15"
    )
    assert code == 0
    again = json.loads((tmp_path / "analysis.json").read_text())
    assert again["rows"] == [row for row in results["rows"] if row["encoder"] != "wide"]


def test_limit_draws_as_many_images_of_the_split(prepared, run_file, tmp_path):
    arguments = [f"data.path={prepared}", f"encoder={run_file}", f"out={tmp_path / 'out'}"]
    assert call(*arguments, "split=all", "limit=12", "checkpoints=0", "runs={}") == 0
    results = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert results["data"] == {
        "dataset": "csv", "split": "all", "available": 80, "n": 12, "limit": 12,
    }  # fmt: skip
    assert results["trajectory"] == {"runs": {}, "checkpoints": {}}
    assert any("split=all" in note for note in results["notes"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["limit=3"], "limit is 3"),
        (["points=0"], "points is 0"),
        (["checkpoints=-1"], "checkpoints is -1"),
        (["split=testing"], "split is 'testing'"),
        (["runs={a:nowhere}"], "metrics.jsonl is missing"),
        (["runs=nowhere"], "runs is 'nowhere'"),
        (["data.path=null", "data.size=8"], "data.size is 8"),
        (["encoders={a:b.safetensors}"], "encoder and encoders are both given"),
        (["imagenet=maybe"], "imagenet is 'maybe'"),
        (["colour=red"], "colour"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    arguments, message, prepared, run_file, tmp_path, capsys
):
    given = [f"data.path={prepared}", f"encoder={run_file}", f"out={tmp_path / 'out'}"]
    code = call_program([*given, *arguments], ("analyze", main, AnalyzeConfig))
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("error:") and message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_split_of_three_images_is_too_small(run_file, tmp_path, capsys):
    small = write_prepared(tmp_path / "small", splits=["train"] * 5 + ["valid"] * 4 + ["test"] * 3)
    assert call(f"data.path={small}", f"encoder={run_file}", f"out={tmp_path / 'out'}") == 2
    assert "has 3 images" in capsys.readouterr().err


def test_weights_that_are_not_finite_are_refused(prepared, tmp_path, capsys):
    encoder = build_encoder("resnet18")
    next(encoder.parameters()).data.fill_(float("nan"))
    file = tmp_path / "encoder.safetensors"
    save_encoder(file, encoder, "resnet18", 32)
    assert call(f"data.path={prepared}", f"encoder={file}", f"out={tmp_path / 'out'}") == 2
    assert "NaN or infinite features" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", "damaged in line 11"), ('{"loss": 1}', "line 11"), ('{"step": "x"}', "is no number")],
)
def test_a_damaged_log_is_named_with_its_line(line, message, prepared, run_file, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(run_file.parent, run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    encoder = f"encoder={run / 'encoder.safetensors'}"
    assert call(f"data.path={prepared}", encoder, f"out={tmp_path / 'out'}") == 2
    assert message in capsys.readouterr().err


def test_a_line_that_is_still_being_written_is_passed_over(prepared, run_file, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_file.parent, run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 11, "lo')
    arguments = [f"data.path={prepared}", f"encoder={run / 'encoder.safetensors'}"]
    assert call(*arguments, f"out={tmp_path / 'out'}", "checkpoints=0") == 0
    results = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert results["trajectory"]["runs"]["encoder"]["step"][-1] == 10


def test_a_damaged_projector_is_a_remark_and_no_end(prepared, run_file, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_file.parent, run)
    (run / "projector.safetensors").write_bytes(b"junk")
    arguments = [f"data.path={prepared}", f"encoder={run / 'encoder.safetensors'}"]
    assert call(*arguments, f"out={tmp_path / 'out'}", "checkpoints=0") == 0
    results = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert "is no safetensors file" in results["rows"][0]["alignment_note"]
    assert str(tmp_path) not in results["rows"][0]["alignment_note"]
