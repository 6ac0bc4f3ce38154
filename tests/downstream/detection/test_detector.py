"""The real detector; these tests need ultralytics (``make check`` installs it)."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from mflag.config.evaluate import EvaluateConfig, TaskConfig
from mflag.downstream.detection.boxes import read_boxes
from mflag.downstream.detection.detector import detect
from mflag.downstream.detection.head import YoloHead
from mflag.downstream.detection.protocols import judge, mean_average_precision
from mflag.downstream.detection.pyramid import FeaturePyramids
from mflag.downstream.encoders import NamedEncoder
from mflag.downstream.plan import plan_draws
from mflag.downstream.training import Compute
from mflag.models import build_encoder
from mflag.models.encoder_file import save_encoder
from tests.downstream.detection.lesions import add_lesions
from tests.evaluate_program import call_program, write_prepared

CPU = Compute(torch.device("cpu"), torch.float32, 16)
TRAIN = np.arange(40)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ultralytics") is None,
        reason="ultralytics is not installed (AGPL-3.0; pip install 'mflag[detection]')",
    ),
]


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    module = build_encoder("resnet18").train()
    return NamedEncoder("mine", module, "resnet18", 64, [0.5] * 3, [0.5] * 3, "file x")


@pytest.fixture
def find(make_prepared, encoder):
    """Train for a few steps; give predictions, course and true boxes of test."""

    def run(seed=0, rows=TRAIN, **options):
        prepared = make_prepared()
        manifest = prepared.manifest
        table = manifest.loc[manifest["label/disc"] == 1, ["id"]]
        table = table.assign(finding="disc", x=60, y=70, width=100, height=100)
        table["runs"] = [[] for _ in table["id"]]
        table.to_parquet(prepared.path / "lesions.parquet")
        truths = read_boxes(prepared, None)
        plan = plan_draws(EvaluateConfig(), [1.0], prepared)
        pyramids = FeaturePyramids(prepared.images, encoder, 64, CPU)
        config = TaskConfig(**{"epochs": 1, "batch_size": 8, "lr": 1e-3} | options)
        found = detect(plan, truths, rows, encoder, pyramids, config, CPU, seed)
        return found, truths.of(plan.test)

    return run


def test_training_leaves_every_parameter_and_buffer_of_the_encoder_bit_identical(find, encoder):
    before = {name: value.clone() for name, value in encoder.module.state_dict().items()}
    find()
    after = encoder.module.state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items())
    assert {"bn1.running_mean", "bn1.num_batches_tracked"} <= set(after)
    assert not any(parameter.requires_grad for parameter in encoder.module.parameters())


def test_equal_arguments_give_equal_predictions(find):
    first, second = find()[0].predictions, find()[0].predictions
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_array_equal(first.boxes, second.boxes)


def test_seed_changes_the_predictions(find):
    assert not np.array_equal(find()[0].predictions.scores, find(seed=1)[0].predictions.scores)


def test_a_visible_disc_is_found(find):
    found, truths = find(epochs=12)
    judged = judge(found.predictions, truths)
    assert mean_average_precision(judged.full)[0, 0] > 0.5
    assert max(found.course.valid) == found.course.valid[found.course.best_epoch - 1]


def test_predicted_boxes_lie_in_the_image(find):
    boxes = find()[0].predictions.boxes
    assert len(boxes) and boxes.min() >= 0 and boxes.max() <= 1
    assert (boxes[:, 2:] >= boxes[:, :2]).all()


def test_divergence_is_told(find):
    found, _ = find(lr=1e30, epochs=3)
    assert found.course.diverged
    assert found.predictions is None or np.isfinite(found.predictions.boxes).all()


def test_two_images_are_enough(find):
    assert find(rows=TRAIN[:2])[0].course.epochs == 1


@pytest.mark.parametrize("channels", [[128, 256, 512], [512, 1024, 2048]], ids=["18", "50"])
def test_head_gives_an_anchor_a_cell_of_each_scale(channels):
    head = YoloHead(channels, 0).eval()
    maps = [torch.zeros(1, c, s, s) for c, s in zip(channels, (8, 4, 2), strict=True)]
    assert head(maps)[0].shape == (1, 5, 64 + 16 + 4)


def test_head_of_the_same_seed_has_the_same_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    heads = [YoloHead([8, 16, 32], 3).state_dict() for _ in range(2)]
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(heads[0][name], value) for name, value in heads[1].items())


def test_building_a_head_needs_no_network_and_leaves_no_trace(tmp_path):
    code = (
        "import os, socket, torch\n"
        "def refuse(*given, **named): raise AssertionError('network')\n"
        "socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse\n"
        "from mflag.downstream.detection.head import YoloHead\n"
        "before, save = dict(os.environ), torch.save\n"
        "YoloHead([8, 16, 32], 0)\n"
        "assert dict(os.environ) == before and torch.save is save\n"
        "from ultralytics.utils import AUTOINSTALL, ONLINE, SETTINGS\n"
        "assert not (AUTOINSTALL or ONLINE or SETTINGS['sync'])\n"
    )
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TMPDIR"), str(tmp_path))
    result = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | homes, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert "Ultralytics" not in result.stderr
    assert not [path for path in tmp_path.rglob("*") if "ltralytics" in path.name]


def test_the_program_runs_as_printed_and_twice_alike(tmp_path):
    torch.manual_seed(1)
    save_encoder(tmp_path / "encoder.safetensors", build_encoder("resnet18"), "resnet18", 64)
    folder = add_lesions(write_prepared(tmp_path / "data", "csv"))
    rows = []
    for out in ("a", "b"):
        given = [f"encoder={tmp_path / 'encoder.safetensors'}", f"data.path={folder}"]
        given += [f"out={tmp_path / out}", "imagenet=false", "fraction=0.5", "seeds=1"]
        assert call_program(["task=detection", *given, "task.epochs=1", "task.resamples=20"]) == 0
        results = json.loads((tmp_path / out / "results.json").read_text())
        rows.append(results["rows"])
    assert rows[0] == rows[1]
    assert "ultralytics" in results["versions"]
