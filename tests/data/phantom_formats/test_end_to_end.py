"""From a generated tree of every dataset to a report: prepare, train, evaluate."""

import json

import pytest

from tests.data.phantom_formats.expected_rows import ROWS

WITH_REPORTS = ("mimic_cxr", "openi", "csv")
TINY = (
    "train.epochs=1", "train.batch_size=8", "train.image_size=32", "model.arch=resnet18",
    "compute.device=cpu", "compute.precision=fp32", "optim.schedule=constant",
    "optim.warmup_epochs=0", "model.projector=linear",
)  # fmt: skip
PROBE = (
    "fraction=[1.0]", "seeds=1", "task.resamples=10", "task.inverse_penalties=[1.0]",
    "imagenet=false", "random=false", "compute.device=cpu",
)  # fmt: skip


@pytest.mark.parametrize("kind", ROWS)
def test_a_generated_tree_goes_from_prepare_to_a_report(trees, call, tmp_path, kind):
    prepared, run = trees.prepared(kind).path, tmp_path / "run"
    preset = "preset=recommended" if kind in WITH_REPORTS else "preset=ablation/orth_only"
    call("train", f"data.path={prepared}", f"output_dir={run}", preset, *TINY)
    encoder = f"encoder={run}/encoder.safetensors"
    call("evaluate", f"data.path={prepared}", encoder, f"out={tmp_path}/results", *PROBE)
    results = json.loads((tmp_path / "results" / "results.json").read_text())
    assert results["data"]["dataset"] == kind
    assert any(row["metric"] == "macro_auc" for row in results["summary"])
    assert (tmp_path / "results" / "report.html").stat().st_size > 1000


def test_alignment_without_reports_is_refused_with_the_ways_out(trees, call, tmp_path, capsys):
    prepared, run = trees.prepared("rsna"), tmp_path / "run"
    assert set(prepared.manifest["text"]) == {""}
    with pytest.raises(SystemExit):
        call("train", f"data.path={prepared.path}", f"output_dir={run}", *TINY)
    message = capsys.readouterr().err
    count = prepared.split_counts()["train"]
    assert f"has no reports in its {count} training studies" in message
    assert "preset=ablation/orth_only" in message
    assert not run.exists()
