"""A run that was stopped, by whatever, ends in the bytes of the undisturbed one."""

import os
import signal
import subprocess
import sys
import time

import pytest

OVERRIDES = (
    "train.image_size=32", "train.epochs=8", "checkpoint.every=3", "log.every=4",
    "log.tensorboard=false", "compute.device=cpu", "compute.threads=1",
)  # fmt: skip
CASES = {
    "SIGKILL": (signal.SIGKILL, ()),
    "SIGTERM-to-the-group-torch-feed-bf16-cosine": (
        signal.SIGTERM,
        ("feed=torch", "compute.precision=bf16", "optim.schedule=cosine", "optim.warmup_epochs=1"),
    ),
    "SIGUSR1-lars-micro-batches": (
        signal.SIGUSR1,
        ("optim=lars", "train.micro_batch_size=8", "model.projector=mlp"),
    ),
}


def start(prepared, folder, *overrides):
    command = [sys.executable, "-m", "mflag.train", f"data.path={prepared.path}"]
    command += [f"output_dir={folder}", *OVERRIDES, *overrides]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(process):
    _, err = process.communicate()
    assert process.returncode == 0, err
    return err


def wait_for_checkpoint(process, folder):
    while not list((folder / "checkpoints").glob("step_*.ckpt")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


@pytest.mark.parametrize(
    "case", ["SIGKILL", *(pytest.param(c, marks=pytest.mark.slow) for c in CASES if c != "SIGKILL")]
)
def test_a_stopped_run_goes_on_to_the_same_bytes(prepared, tmp_path, case):
    number, overrides = CASES[case]
    undisturbed, stopped = tmp_path / "undisturbed", tmp_path / "stopped"
    finish(start(prepared, undisturbed, *overrides))

    process = start(prepared, stopped, *overrides)
    wait_for_checkpoint(process, stopped)
    os.killpg(process.pid, number)
    if number == signal.SIGKILL:
        process.communicate()
    else:
        err = finish(process)
        assert f"{number.name}: saved after step" in err and "resume=auto" in err
    assert not (stopped / "encoder.safetensors").exists()

    assert "train: going on after" in finish(start(prepared, stopped, *overrides, "resume=auto"))
    for name in ("encoder.safetensors", "projector.safetensors"):
        assert (stopped / name).read_bytes() == (undisturbed / name).read_bytes()
    steps = [line.split(",")[0] for line in (stopped / "metrics.jsonl").read_text().splitlines()]
    assert len(steps) == len(set(steps))
