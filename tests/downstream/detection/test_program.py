"""``task=detection`` as a program; a stand-in takes the detector's place, so nothing is learnt."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from mflag.downstream import results as results_module
from mflag.downstream.detection import evaluation
from mflag.downstream.detection.detector import Detected
from mflag.downstream.detection.head import check_ultralytics
from mflag.downstream.detection.matching import Predictions
from mflag.downstream.training import Course
from mflag.errors import InputError
from mflag.models import build_encoder
from mflag.models.encoder_file import save_encoder
from tests.downstream.detection.lesions import add_lesions
from tests.evaluate_program import call_program, write_prepared


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A ResNet-18 for 64 px."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    save_encoder(path, build_encoder("resnet18"), "resnet18", 64)
    return path


@pytest.fixture
def stand_in(monkeypatch):
    """Find every box in the name of ``encoder``, and nothing in any other's."""

    def detect(plan, truths, rows, encoder, *rest):
        boxes = truths.of(plan.test)
        image = np.repeat(np.arange(len(boxes)), [len(b) for b in boxes])
        found = Predictions(image, np.concatenate(boxes), np.full(len(image), 0.9))
        if encoder.name != "encoder":
            found = found.where(np.zeros(len(image), bool))
        return Detected(found, Course([0.5, 0.4], 2, 1, False))

    monkeypatch.setattr(evaluation, "detect", detect)
    monkeypatch.setattr(results_module, "version", lambda name: "8")
    monkeypatch.setattr("mflag.downstream.detection.options.check_ultralytics", lambda: None)


@pytest.fixture
def evaluated(stand_in, encoder, tmp_path):
    """Run the program on some data; give its exit code and folder."""

    def run(*arguments, rows=None):
        folder = add_lesions(write_prepared(tmp_path / "data"), rows)
        out = tmp_path / "out"
        given = [f"encoder={encoder}", f"data.path={folder}", f"out={out}", "imagenet=false"]
        code = call_program(["task=detection", *given, "task.resamples=20", *arguments])
        return code, out

    return run


def test_results_and_report_of_both_protocols(evaluated):
    code, out = evaluated(
        "fraction=[0.1,1.0]", "seeds=2", "report.examples=4", "report.embed_images=true"
    )
    results = json.loads((out / "results.json").read_text())
    scores = {(r["encoder"], r["fraction"], r["metric"]): r["value"] for r in results["summary"]}
    boxes = results["data"]["boxes"]["test"]
    assert code == 0
    assert scores["encoder", 0.1, "map_full"] == scores["encoder", 1.0, "map_mgca"] == 1
    assert scores["encoder", 1.0, "map_full/0.75"] == 1
    assert scores["random", 1.0, "map_full"] == scores["random", 1.0, "map_mgca"] == 0
    assert [d["n_kept"] for d in results["detectors"]] == [boxes["positive"]] * 3 + [0] * 3
    assert {r["protocol"] for r in results["rows"]} == {"frozen", "none"}
    assert len(pd.read_parquet(out / "drawn_ids.parquet")) == 2 * 4
    difference = next(d for d in results["differences"] if d["metric"] == "map_full")
    pair = difference["encoder"], difference["minus"], difference["value"]
    assert pair == ("encoder", "random", 1)
    baselines = {b["name"]: b["map_full"] for b in results["baselines"]}
    assert baselines["no prediction"] == 0
    # One place for all true boxes, so it hits each of them, and is a false alarm elsewhere.
    assert boxes["positive"] / 20 <= baselines["mean box"] < 1
    assert scores["mean_box", 0.0, "map_full_mean_box_baseline"] == baselines["mean box"]

    page = (out / "report.html").read_text()
    listed = json.loads((out / "pictures" / "pictures.json").read_text())["pictures"]
    assert len(listed) == page.count("data:image/png") == 8
    assert "1 true, 1 predicted, 1 of them at IoU 0.5 or more" in listed[0]["text"]
    assert "AGPL-3.0" in page and "mean box" in page
    assert {p.name for p in (out / "plots").iterdir()} >= {"map_full.svg", "ap_by_iou.png"}


def test_a_draw_without_a_box_is_told_and_the_rest_goes_on(evaluated):
    code, out = evaluated("fraction=[0.03,1.0]", "seeds=2", rows=[0, 1, 2, 3, 60, 61])
    results = json.loads((out / "results.json").read_text())
    assert code == 0
    assert not (out / "pictures").exists()  # of studies that are not generated
    assert any("none of the 1 drawn images has a box" in note for note in results["notes"])
    scored = {(r["fraction"], r["seed"]) for r in results["rows"] if r["protocol"] == "frozen"}
    assert scored == {(0.03, 1), (1.0, 0)}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("task.image_size=32", "task.image_size is 32; give a multiple of 32 from 64 on"),
        ("task.image_size=80", "task.image_size is 80; give a multiple of 32"),
        ("task.finding=goitre", "choose one of disc, or prepare other data"),
        ("task.protocol=linear", "task.protocol is 'linear'; give frozen"),
        ("task.batch_size=1", "task.batch_size is 1; give 2 or more"),
        ("task.lr=0", "task.lr is 0.0; give a number above 0"),
        ("task.label_policy=ones", "which task=detection does not read"),
    ],
)
def test_bad_options_are_one_error_line(evaluated, capsys, argument, message):
    code, out = evaluated(argument)
    err = capsys.readouterr().err
    assert code == 2 and not out.exists()
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


def test_a_split_without_boxes_is_refused(evaluated, capsys):
    code, _ = evaluated(rows=[0, 1])
    assert code == 2
    assert "no image of split 'test'" in capsys.readouterr().err


def test_an_encoder_for_smaller_images_is_refused(evaluated, tmp_path, capsys):
    save_encoder(tmp_path / "small.safetensors", build_encoder("resnet18"), "resnet18", 48)
    code, _ = evaluated(f"encoder={tmp_path / 'small.safetensors'}")
    assert code == 2
    assert "was trained at 48 pixels; detection needs a multiple of 32" in capsys.readouterr().err


def test_without_the_extra_the_error_names_how_to_install_it(encoder, capsys, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ultralytics" else find_spec(name)
    )
    code = call_program(["task=detection", f"encoder={encoder}"])
    err = capsys.readouterr().err
    assert code == 2
    assert "AGPL-3.0" in err and "pip install 'mflag[detection]'" in err


def test_an_extra_that_does_not_load_is_told(monkeypatch):
    def fail():
        raise ImportError("libGL.so.1: no such file")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr("mflag.downstream.detection.head.ultralytics_parts", fail)
    with pytest.raises(InputError, match=r"libGL.so.1.*opencv-python-headless"):
        check_ultralytics()


def test_no_program_imports_ultralytics_unasked():
    code = (
        "import sys, importlib.abc\n"
        "class Refuse(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        assert name.split('.')[0] != 'ultralytics', 'imported'\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import mflag, mflag.evaluate\n"
        "assert 'ultralytics' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
