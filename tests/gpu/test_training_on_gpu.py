"""A short training on the GPU, by the program itself."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("compiles", ["false", "true"])
@pytest.mark.parametrize("feed", ["cache", "torch"])
def test_training_learns_and_evaluates(tmp_path, compiles, feed):
    def run(*command):
        ran = subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, text=True,
                             capture_output=True)  # fmt: skip
        assert ran.returncode == 0, ran.stderr

    run("mflag.train", "output_dir=run", "train.epochs=6", "model.arch=resnet50", "log.every=1",
        "compute.device=cuda", f"compute.compile={compiles}", f"feed={feed}",
        "compute.precision=bf16")  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss_alignment"] < 0.9 * lines[0]["loss_alignment"]
    run("mflag.evaluate", "encoder=run/encoder.safetensors", "data.path=run/data", "out=out",
        "fraction=[1.0]", "compute.device=cuda")  # fmt: skip
