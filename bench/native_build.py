"""Build the native library for the GPU that is here, into the checkout: nothing is installed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]


def missing_tool() -> str | None:
    """Return which tool the build lacks; None when it can start."""
    for tool in ("nvcc", "c++"):
        if shutil.which(tool) is None:
            return f"{tool} was not found"
    return None


def build(capability: int) -> str | None:
    """Compile csrc/ into mflag/; by CMake, or by nvcc alone where there is no CMake.

    Args:
        capability: of the device, 90 for an H100.

    Returns:
        None, or why there is no native library now; the Triton kernels need none.
    """
    if reason := missing_tool():
        return reason
    folder = ROOT / "build" / "gpu"
    folder.mkdir(parents=True, exist_ok=True)
    run = _by_cmake(folder, capability) if shutil.which("cmake") else _by_nvcc(folder, capability)
    if run.returncode:
        return f"the build failed: {(run.stdout + run.stderr)[-2000:]}"
    for name in ("libmflag.so", "native.json"):
        shutil.copy(folder / name, ROOT / "mflag" / name)
    return None


def _by_cmake(folder: Path, capability: int) -> subprocess.CompletedProcess[str]:
    configure: list[str | Path] = [
        "cmake",
        "-S",
        ROOT / "csrc",
        "-B",
        folder,
        "-DCMAKE_BUILD_TYPE=Release",
    ]
    configure += [f"-DPython_EXECUTABLE={sys.executable}", f"-DARCHITECTURES={capability}"]
    if shutil.which("ninja"):
        configure += ["-G", "Ninja"]
    run = _run(configure)
    return run if run.returncode else _run(["cmake", "--build", folder, "--parallel", "8"])


def _by_nvcc(folder: Path, capability: int) -> subprocess.CompletedProcess[str]:
    """What csrc/CMakeLists.txt does, in one command."""
    library = Path(torch.__file__).parent
    sources = [*(ROOT / "csrc" / "cpu").glob("*.cpp"), *(ROOT / "csrc" / "cuda").glob("*.cu")]
    command: list[str | Path] = [
        "nvcc",
        "-shared",
        "-O3",
        "-std=c++20",
        f"-arch=sm_{capability}",
        "-DUSE_CUDA",
    ]
    command += ["-DNDEBUG", "-DTORCH_TARGET_VERSION=0x020B000000000000"]
    command += ["-Xcompiler", "-fPIC,-fvisibility=hidden", "-isystem", library / "include"]
    command += [f"-L{library / 'lib'}", "-Xlinker", "--no-as-needed", "-ltorch", "-ltorch_cpu"]
    run = _run([*command, "-o", folder / "libmflag.so", *sorted(sources)])
    built = {"torch": torch.__version__, "cpu": True, "cuda": True, "reason": ""}
    (folder / "native.json").write_text(json.dumps(built) + "\n")
    return run


def _run(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)
