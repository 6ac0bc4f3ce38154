"""The C++ kernels under AddressSanitizer and UndefinedBehaviorSanitizer."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = (
    "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g "
    "-Wno-maybe-uninitialized"  # gcc warns of its own instrumentation
)
# Every case of the backend `cpu` that is quick, whatever the op.
TESTS = ["tests/properties", "tests/ops", "-k", "cpu and not large and not twice"]
pytestmark = pytest.mark.slow


def found(tool: str) -> str:
    """A tool that pip has installed, or one of the system."""
    folder = getattr(importlib.import_module(tool), "CMAKE_BIN_DIR", None) or getattr(
        importlib.import_module(tool), "BIN_DIR", ""
    )
    path = shutil.which(tool, path=folder) or shutil.which(tool)
    assert path is not None, f"{tool} was not found"
    return path


def checked(command: list[str], **named: object) -> str:
    run = subprocess.run(  # type: ignore[call-overload]
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **named
    )
    assert run.returncode == 0, run.stdout[-6000:]
    return run.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout whose library is instrumented; the checkout's own stays as it is."""
    if shutil.which("g++") is None:
        pytest.skip("g++ was not found")
    copy = tmp_path_factory.mktemp("sanitized")
    built = shutil.ignore_patterns("libmflag.so", "native.json", "__pycache__", "*.cu")
    for folder in ("mflag", "kernels", "configs", "csrc", "tests", "bench", "examples"):
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, copy / folder, ignore=built)
    shutil.copy(ROOT / "pyproject.toml", copy)
    cmake, build = found("cmake"), copy / "build"
    settings = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_CXX_COMPILER": "g++",
        "CMAKE_CXX_FLAGS": FLAGS,
        "CMAKE_MAKE_PROGRAM": found("ninja"),
        "Python_EXECUTABLE": sys.executable,
    }
    options = [f"-D{key}={value}" for key, value in settings.items()]
    checked([cmake, "-G", "Ninja", "-S", str(copy / "csrc"), "-B", str(build), *options])
    checked([cmake, "--build", str(build), "-j", "2"])
    for name in ("libmflag.so", "native.json"):
        shutil.copy(build / name, copy / "mflag")
    return copy


def test_no_kernel_reads_outside_its_tensors_or_relies_on_undefined_behaviour(package: Path):
    # With libstdc++: the runtime looks for what throws exceptions when it starts.
    runtimes = [
        subprocess.check_output(["g++", f"-print-file-name={name}.so"], text=True).strip()
        for name in ("libasan", "libstdc++")
    ]
    environment = os.environ | {
        "LD_PRELOAD": " ".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python leaves memory to the system
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "OMP_NUM_THREADS": "2",
    }
    command = [sys.executable, str(package / "tests/native/sanitized_run.py")]
    # -s: what a sanitizer writes when it stops the process would be lost in pytest's capture.
    options = ["-q", "-x", "-s", "-p", "no:cacheprovider", "-m", "not slow and not gpu"]
    shown = checked([*command, *options, *TESTS], cwd=package, env=environment)
    assert " passed" in shown
