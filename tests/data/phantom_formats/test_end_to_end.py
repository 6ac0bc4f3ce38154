"""From a generated tree of every dataset to a report: prepare, train, evaluate."""

import json
import shutil

import pytest

from mflag.data.manifest import open_prepared

SIZE = 48
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


def root_keys(kind, raw):
    if kind == "csv":
        return [f"root={raw}/images", f"csv={raw}/studies.csv"]
    headers = [f"csv={raw}/nlmcxr_dicom_metadata.csv.gz"] if kind == "openi" else []
    return [f"root={raw}", *headers]


@pytest.mark.parametrize("kind", ["mimic_cxr", "openi", "csv", "chexpert", "nih", "rsna", "siim"])
def test_a_generated_tree_goes_from_prepare_to_a_report(call, tmp_path, kind):
    raw, prepared, run = (tmp_path / name for name in ("raw", "prepared", "run"))
    size = [f"dataset.size={SIZE}", "dataset.seed=2", "workers=1"]
    call("prepare", f"phantom.format={kind}", *size, f"out={raw}")
    call("prepare", f"dataset={kind}", *root_keys(kind, raw), f"out={prepared}", "workers=1")
    shutil.rmtree(raw)  # what follows reads the prepared folder alone
    preset = "preset=recommended" if kind in WITH_REPORTS else "preset=ablation/orth_only"
    call("train", f"data.path={prepared}", f"output_dir={run}", preset, *TINY)
    encoder = f"encoder={run}/encoder.safetensors"
    call("evaluate", f"data.path={prepared}", encoder, f"out={tmp_path}/results", *PROBE)
    results = json.loads((tmp_path / "results" / "results.json").read_text())
    assert results["data"]["dataset"] == kind
    assert any(row["metric"] == "macro_auc" for row in results["summary"])
    assert (tmp_path / "results" / "report.html").stat().st_size > 1000


def test_alignment_without_reports_is_refused_with_the_ways_out(call, tmp_path, capsys):
    size = ["dataset.size=24", "dataset.seed=0", "workers=1"]
    call("prepare", "phantom.format=rsna", *size, f"out={tmp_path}/raw")
    prepared = tmp_path / "prepared"
    call("prepare", "dataset=rsna", f"root={tmp_path}/raw", f"out={prepared}", "workers=1")
    assert set(open_prepared(prepared).manifest["text"]) == {""}
    with pytest.raises(SystemExit):
        call("train", f"data.path={prepared}", f"output_dir={tmp_path}/run", *TINY)
    message = capsys.readouterr().err
    assert "no reports" in message
    assert "preset=ablation/orth_only" in message
    assert not (tmp_path / "run").exists()
