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


def start(prepared, folder, *overrides):
    command = [sys.executable, "-m", "mflag.train", f"data.path={prepared.path}"]
    command += [f"output_dir={folder}", *OVERRIDES, *overrides]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for_checkpoint(process, folder):
    while not list((folder / "checkpoints").glob("step_*.ckpt")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(prepared, folder)
    _, err = process.communicate()
    assert process.returncode == 0, err
    return folder


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
def test_a_stopped_run_goes_on_to_the_same_bytes(prepared, undisturbed, tmp_path, number):
    process = start(prepared, tmp_path)
    wait_for_checkpoint(process, tmp_path)
    os.kill(process.pid, number)
    _, err = process.communicate()
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 0), err
    if number != signal.SIGKILL:
        assert f"{number.name}: saved after step" in err and "resume=auto" in err
    assert not (tmp_path / "encoder.safetensors").exists()

    process = start(prepared, tmp_path, "resume=auto")
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert "train: going on after" in err
    for name in ("encoder.safetensors", "projector.safetensors"):
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes()
    steps = [line.split(",")[0] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(steps) == len(set(steps))
