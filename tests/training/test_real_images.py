"""The way of docs/data.md on Hannover's X-rays: compose, prepare, train ResNet-50."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torchvision
from safetensors.torch import load_file
from torch import nn

from mflag.data.manifest import open_prepared

ROOT = Path(__file__).parents[2]
HANNOVER = Path(os.environ.get("MFLAG_REAL_DATA", ROOT.parent / "shared" / "data")) / "hannover"
QUICK = (
    "preset=recommended", "optim=adamw", "optim.warmup_epochs=0", "train.epochs=3",
    "train.batch_size=32", "train.image_size=64", "log.every=1", "log.tensorboard=false",
)  # fmt: skip


def run(folder, *command):
    ran = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.skipif(not HANNOVER.is_dir(), reason=f"{HANNOVER} is absent (MFLAG_REAL_DATA)")
def test_resnet50_learns_from_hannover_with_falling_loss(tmp_path):
    script = re.search(
        r"```python\n(# compose_hannover.*?)```", (ROOT / "docs/data.md").read_text(), re.S
    )
    assert script is not None
    (tmp_path / "compose_hannover.py").write_text(script.group(1))
    run(tmp_path, "compose_hannover.py", str(HANNOVER / "data.csv"), "hannover.csv")
    run(
        tmp_path,
        "-m",
        "mflag.prepare",
        "dataset=csv",
        f"root={HANNOVER / 'png'}",
        "csv=hannover.csv",
        "out=prepared",
    )
    run(tmp_path, "-m", "mflag.train", "data.path=prepared", "output_dir=run", *QUICK)

    prepared = open_prepared(tmp_path / "prepared", check_hashes=True)
    assert (len(prepared), prepared.manifest["patient"].nunique()) == (243, 71)
    assert (prepared.labels, prepared.info["rejected"]) == (["intensive_care", "died"], 0)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    alignment = [line["loss_alignment"] for line in lines]
    assert len(alignment) == 18
    assert sum(alignment[-4:]) / 4 < 0.9 * sum(alignment[:2]) / 2
    model = torchvision.models.resnet50()
    model.fc = nn.Identity()
    model.load_state_dict(load_file(tmp_path / "run/encoder.safetensors"), strict=True)
