"""All that needs a GPU, one command: build, tests, compute-sanitizer, benchmark.

    python -m bench.gpu                  what `make gpu` runs; exits with 1 without a GPU
    python -m bench.gpu --if-present     without a GPU: says so and exits with 0

Needs nothing but torch and triton: it runs from the checkout with the interpreter that it is
called with, and installs nothing. What is missing (nvcc, pytest, compute-sanitizer, a peer) is
named and left out. Writes bench/results/<GPU>/kernels.json, kernels.md and, with matplotlib,
kernels.svg; then trains by every rung at three batch sizes and by every feed (bench.gpu_training),
where the packages of training are.
"""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from bench.console import say
from bench.gpu_training import run_plan
from bench.kernels import SECONDS, run, write
from bench.native_build import build
from bench.sanitizer import sanitize
from bench.workloads import OPS

ROOT = Path(__file__).parents[1]
# The training program needs what mflag's programs need; the ops need torch alone.
TRAINING = ("hydra", "pandas", "pyarrow", "torchvision", "safetensors", "rich", "sklearn")


def main() -> None:
    """Run all; the exit code is 1 when a test or compute-sanitizer fails."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--if-present", action="store_true", help="no GPU is no failure")
    parser.add_argument("--seconds", type=float, default=SECONDS["cuda"], help="op and shape")
    parser.add_argument("--ops", default=",".join(OPS), help="comma between; default: %(default)s")
    parser.add_argument("--out", type=Path, help="default: bench/results/<GPU>")
    given = parser.parse_args()
    names = given.ops.split(",")
    if unknown := [name for name in names if name not in OPS]:
        parser.error(f"--ops: {unknown[0]!r} is unknown; choose from {', '.join(OPS)}")
    if not torch.cuda.is_available():
        say(f"no CUDA device is here (torch {torch.__version__}, CUDA {torch.version.cuda})")
        sys.exit(0 if given.if_present else 1)
    native = build_native()
    say(f"native library: {native or 'there'}")
    tests, sanitizer = gpu_tests(), sanitize()
    say(f"tests/gpu: {tests['summary']}")
    for result in sanitizer:
        say(f"compute-sanitizer {result['tool']}: {result['summary']}")
    content = run("cuda", names, given.seconds, "bench.gpu")
    content |= {"native": native, "tests": tests, "sanitizer": sanitizer}
    for path in write(content, given.out or ROOT / "bench/results" / folder_name()):
        say(f"written: {path}")
    training = measure_training(given.out or ROOT / "bench/results" / folder_name())
    for part in training:
        say(f"training, {part['part']}: {part['summary']}")
    if tests["passed"] is False or any(result["clean"] is False for result in sanitizer):
        sys.exit(1)


def folder_name() -> str:
    """Return the GPU's name as a folder: ``nvidia-h100-80gb-hbm3``."""
    return re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name(0).lower()).strip("-")


def build_native() -> str | None:
    """Build what is not there yet; return why there is none. Runs before mflag looks for it."""
    asked = "import mflag; raise SystemExit(mflag.backends()['cuda'] is not True)"
    if subprocess.run([sys.executable, "-c", asked], cwd=ROOT, env=_environment()).returncode == 0:
        return None
    major, minor = torch.cuda.get_device_capability(0)
    return build(10 * major + minor)


def measure_training(out: Path) -> list[dict[str, Any]]:
    """Time whole training loops and feeds; each in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as work:
        return run_plan(out, Path(work), ROOT, _environment())


def gpu_tests() -> dict[str, Any]:
    """Run tests/gpu in a process of its own; without pytest say so."""
    if importlib.util.find_spec("pytest") is None:
        return {"passed": None, "summary": "pytest is not installed; they did not run"}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/gpu"]
    missing = [name for name in TRAINING if importlib.util.find_spec(name) is None]
    if missing:
        command.append("--ignore=tests/gpu/test_training_on_gpu.py")
    done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True)
    say(done.stdout[-4000:] + done.stderr[-2000:])
    lines = done.stdout.strip().splitlines()
    summary = lines[-1] if lines else done.stderr[-500:]
    if missing:
        summary += f"; training left out, not installed: {', '.join(missing)}"
    return {"passed": done.returncode == 0, "summary": summary}


def _environment() -> dict[str, str]:
    """The checkout comes first, installed or not."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


if __name__ == "__main__":
    main()
