"""``python -m mflag.evaluate task=retrieval`` and ``task=zero_shot`` as people call them."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from mflag.downstream import TASKS
from mflag.runtime.atomic_write import file_sha256
from tests.evaluate_program import SPLITS, call_program, write_prepared
from tests.run_files import write_run

SAID = {1: "A bright disc is seen", 0: "No disc is seen"}
PROMPTS = """
disc: {positive: [A bright disc is seen], negative: [No disc is seen]}
"<script>": {positive: [xylophone]}
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Reports that say whether there is a disc, and a word that one study of a split has."""
    disc = np.random.default_rng(0).permutation(np.arange(len(SPLITS)) % 2)
    return write_prepared(
        tmp_path_factory.mktemp("data") / "prepared",
        "phantom",
        text=[f"{SAID[d]} word{k % 20}x" for k, d in enumerate(disc)],
        **{"label/<script>": (np.arange(len(SPLITS)) % 2).astype(np.float32)},
    )


@pytest.fixture(scope="module")
def run(prepared, tmp_path_factory):
    """Its projector was fitted to the reports, so images find them."""
    return write_run(tmp_path_factory.mktemp("runs") / "run", prepared)


def evaluate(task, out, *arguments):
    return call_program([f"task={task}", f"out={out}", "imagenet=false", *arguments])


@pytest.fixture(scope="module")
def outcomes(prepared, run, tmp_path_factory):
    """Folders of one evaluation of each task."""
    out = tmp_path_factory.mktemp("out")
    prompts = out / "prompts.yaml"
    prompts.write_text(PROMPTS)
    for task in ("retrieval", "zero_shot"):
        given = [f"data.path={prepared}", f"encoders={{mine:{run}}}"]
        sentences = [f"task.prompts={prompts}"] if task == "zero_shot" else []
        assert evaluate(task, out / task, *given, *sentences) == 0
    return out


def values(folder):
    results = json.loads((folder / "results.json").read_text())
    return {(row["encoder"], row["metric"]): row for row in results["rows"]}, results


def test_images_find_their_reports_far_better_than_a_random_order(outcomes):
    rows, results = values(outcomes / "retrieval")
    assert results["data"] | {"dataset": ""} == {
        "dataset": "", "images": 20, "test_images": 20, "reports": 20, "patients": 10,
    }  # fmt: skip
    own = rows["mine", "recall@1"]
    assert own["value"] > 0.9 and own["ci_low"] > 0.7
    assert rows["mine", "median_rank"]["value"] == 1
    assert rows["mine", "precision_exact@5"]["value"] == pytest.approx(1 / 5)
    assert rows["mine", "precision_findings@1"]["value"] > 0.9
    assert (own["fraction"], own["n_train"], own["n_test"]) == (0.0, 0, 20)


def test_chance_is_computed_and_stands_beside(outcomes):
    rows, results = values(outcomes / "retrieval")
    assert rows["chance", "recall@5"]["value"] == 0.25
    assert rows["chance", "recall@5"]["ci_low"] is None
    assert rows["chance", "precision_exact@10"]["value"] == pytest.approx(1 / 20)
    assert rows["chance", "median_rank"]["value"] == 10.5
    assert 0 < rows["chance", "precision_findings@5"]["value"] < 1
    assert any("no row for random: a baseline has no projector" in n for n in results["notes"])


def test_sentences_tell_the_label_that_reports_speak_of(outcomes):
    rows, results = values(outcomes / "zero_shot")
    assert rows["mine", "auc/disc"]["value"] > 0.95
    assert rows["mine", "macro_auc"]["n_classes_used"] == 1
    assert rows["chance", "macro_auc"]["value"] == 0.5
    assert "mine: left out, the text encoder knows no word of: <script>" in results["notes"]


@pytest.mark.parametrize("task", ["retrieval", "zero_shot"])
def test_reports_are_whole_and_hold_names_as_text(task, outcomes):
    page = (outcomes / task / "report.html").read_text()
    assert "<script>" not in page
    assert ("&lt;script&gt;" in page) == (task == "zero_shot")
    assert page.count("<table") >= 2 and "chance" in page
    assert {p.suffix for p in (outcomes / task / "plots").iterdir()} == {".svg", ".png"}


def test_a_report_is_built_from_its_results_alone(outcomes):
    for task in ("retrieval", "zero_shot"):
        _, results = values(outcomes / task)
        plots = TASKS[task].plots(results)
        found = TASKS[task].sections(results, plots, [])
        assert {"method", "provenance"} <= {section.anchor for section in found}


def test_reports_of_other_data_are_embedded_by_the_run_s_text_encoder(run, tmp_path):
    """Another text column: the run's own is found by its configuration."""
    other = write_prepared(
        tmp_path / "other", text=[f"{SAID[k % 2]} {k}" for k in range(len(SPLITS))]
    )
    assert evaluate("retrieval", tmp_path / "out", f"data.path={other}", f"encoder={run}") == 0
    rows, _ = values(tmp_path / "out")
    assert rows["encoder", "recall@10"]["n_test"] == 20


def test_data_without_labels_have_no_findings_to_compare(run, prepared, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(prepared, bare)
    table = pd.read_parquet(bare / "manifest.parquet")
    table.drop(columns=[c for c in table if str(c).startswith("label/")]).to_parquet(
        bare / "manifest.parquet"
    )
    info = json.loads((bare / "prepared.json").read_text())
    info["hashes"]["manifest.parquet"] = file_sha256(bare / "manifest.parquet")
    (bare / "prepared.json").write_text(json.dumps(info))
    assert evaluate("retrieval", tmp_path / "out", f"data.path={bare}", f"encoder={run}") == 0
    rows, results = values(tmp_path / "out")
    assert ("encoder", "precision_findings@1") not in rows
    assert "no findings to compare: the data have no labels" in results["notes"]


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("retrieval", ["task.protocol=linear"], "task.protocol is 'linear'; give ranking"),
        ("zero_shot", ["task.prompts=nowhere.yaml"], "nowhere.yaml cannot be read"),
        ("zero_shot", [], "none of the labels disc, <script> has sentences"),
        ("retrieval", ["task.label_policy=maybe"], "task.label_policy is 'maybe'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(
    task, arguments, message, prepared, run, tmp_path, capsys
):
    given = [f"data.path={prepared}", f"encoder={run}", *arguments]
    assert evaluate(task, tmp_path / "out", *given) == 2
    error = capsys.readouterr().err
    assert error.startswith("error:") and message in error
    assert not (tmp_path / "out" / "results.json").exists()


@pytest.mark.parametrize("task", ["retrieval", "zero_shot"])
def test_an_encoder_without_its_run_is_refused_and_says_what_is_missing(
    task, prepared, run, tmp_path, capsys
):
    alone = tmp_path / "alone" / "encoder.safetensors"
    alone.parent.mkdir()
    shutil.copy(run, alone)
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text(PROMPTS)
    given = [f"data.path={prepared}", f"encoder={alone}"]
    sentences = [f"task.prompts={prompts}"] if task == "zero_shot" else []
    assert evaluate(task, tmp_path / "out", *given, *sentences) == 2
    assert "projector.safetensors is missing" in capsys.readouterr().err


def test_data_without_reports_are_refused(run, tmp_path, capsys):
    silent = write_prepared(tmp_path / "silent", text="")
    assert evaluate("retrieval", tmp_path / "out", f"data.path={silent}", f"encoder={run}") == 2
    assert "0 distinct reports in its test split" in capsys.readouterr().err
