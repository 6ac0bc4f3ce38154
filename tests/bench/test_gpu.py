"""`make gpu` runs from a checkout with torch alone, and says what it lacks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import native_build, sanitizer

ROOT = Path(__file__).parents[2]
# A finder that hides everything but torch, triton and numpy.
HIDE = """
import sys
HIDDEN = set("{names}".split())
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Finder())
"""
NAMES = (
    "hydra omegaconf pandas pyarrow transformers torchmetrics rich matplotlib sklearn scipy joblib "
    "timm lightly torchvision safetensors PIL tensorboard threadpoolctl pytest hypothesis"
)


@pytest.mark.parametrize(
    "modules", ["mflag.losses, mflag.optim, mflag.ops", "bench.gpu", "bench.compiled.__main__"]
)
def test_torch_alone_is_enough_to_import(modules):
    code = HIDE.format(names=NAMES) + f"import {modules}"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("options, code", [((), 1), (("--if-present",), 0)], ids=str)
def test_a_missing_gpu_is_one_line(options, code):
    command = [sys.executable, "-m", "bench.gpu", *options]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == code
    assert run.stdout.startswith("no CUDA device is here") and run.stdout.count("\n") == 1


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setattr(native_build.shutil, "which", lambda tool: None)
    assert native_build.build(90) == "nvcc was not found"


def test_a_missing_sanitizer_is_no_finding(monkeypatch):
    monkeypatch.setattr(sanitizer.shutil, "which", lambda tool: None)
    found = sanitizer.sanitize()
    assert [one["clean"] for one in found] == [None, None]
    assert {one["summary"] for one in found} == {"compute-sanitizer was not found"}


@pytest.mark.parametrize(
    "output, code, clean, summary",
    [
        ("========= ERROR SUMMARY: 0 errors", 0, True, "ERROR SUMMARY: 0 errors"),
        ("========= ERROR SUMMARY: 3 errors", 9, False, "ERROR SUMMARY: 3 errors"),
        (
            "========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)", 9, False,
            "RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)",
        ),
    ],
)  # fmt: skip
def test_the_summary_of_the_sanitizer_is_read(monkeypatch, output, code, clean, summary):
    monkeypatch.setattr(sanitizer.shutil, "which", lambda tool: "/bin/true")
    done = subprocess.CompletedProcess([], code, output, "")
    monkeypatch.setattr(sanitizer.subprocess, "run", lambda *args, **kwargs: done)
    for one in sanitizer.sanitize():
        assert one["clean"] is clean and one["summary"] == summary


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_the_sanitized_program_ends_without_a_gpu():
    command = [sys.executable, "-m", "tests.gpu.sanitize"]
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0 and "triton: no GPU" in run.stdout
