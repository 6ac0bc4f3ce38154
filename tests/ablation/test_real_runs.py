"""The real programs, stopped by a signal and taken up again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = (
    "table=none", "grid={loss.norm:[none]}", "seeds=1", "random=false", "fraction=1.0",
    'train=["preset=smoke","train.epochs=60","train.image_size=32","compute.device=cpu",'
    '"log.tensorboard=false"]',
    'evaluate=["task.resamples=20","compute.device=cpu"]',
)  # fmt: skip


def start(studies, out):
    words = [sys.executable, "-m", "mflag.ablate", f"data.path={studies}", f"out={out}", *WORDS]
    return subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_sigterm_saves_the_training_at_hand_and_the_same_command_ends_it(studies, tmp_path):
    out = tmp_path / "out"
    run = out / "none" / "seed_0"
    process = start(studies, out)
    while process.poll() is None and not (run / "metrics.jsonl").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "SIGTERM: go on with the same command" in err
    assert list((run / "checkpoints").iterdir()) and not (run / "model_card.md").exists()
    assert "go on with the same command and resume=auto" in run.with_name("seed_0.log").read_text()
    process = start(studies, out)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "going on after" in run.with_name("seed_0.log").read_text()
    found = json.loads((out / "ablation.json").read_text())
    assert {row["metric"] for row in found["rows"]} >= {"macro_auc", "rankme"}
    assert os.path.isfile(run / "evaluation" / "results.json")
