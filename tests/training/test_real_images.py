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
TEXT = (ROOT / "docs/data.md").read_text()


def run(folder, command):
    """Run a line of the docs with this interpreter."""
    words = command.replace("HANNOVER", str(HANNOVER)).split()
    ran = subprocess.run([sys.executable, *words[1:]], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.slow
@pytest.mark.skipif(not HANNOVER.is_dir(), reason=f"{HANNOVER} is absent (MFLAG_REAL_DATA)")
def test_resnet50_learns_from_hannover_with_falling_loss(tmp_path):
    script = re.search(r"```python\n(# compose_hannover.*?)```", TEXT, re.S)
    assert script is not None
    (tmp_path / "compose_hannover.py").write_text(script.group(1))
    commands = re.findall(r"^    (python .*hannover.*)$", TEXT, re.M)
    assert len(commands) == 3
    for command in commands:
        run(tmp_path, command)

    prepared = open_prepared(tmp_path / "data/hannover", check_hashes=True)
    assert (len(prepared), prepared.manifest["patient"].nunique()) == (243, 71)
    assert (prepared.labels, prepared.info["rejected"]) == (["intensive_care", "died"], 0)
    assert prepared.split_counts() == {"train": 206, "valid": 23, "test": 14}
    folder = tmp_path / "runs/hannover"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    alignment = [line["loss_alignment"] for line in lines]
    assert len(alignment) == 48
    assert sum(alignment[-8:]) / 8 < 0.9 * sum(alignment[:4]) / 4
    model = torchvision.models.resnet50()
    model.fc = nn.Identity()
    model.load_state_dict(load_file(folder / "encoder.safetensors"), strict=True)
