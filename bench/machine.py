"""What a figure was measured on, without the machine's name."""

import contextlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import mflag


def describe_machine(device: str) -> dict[str, Any]:
    """Return processor, threads, memory, GPU."""
    machine: dict[str, Any] = {
        "type": device,
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.system(),
        "load_before": round(os.getloadavg()[0], 2),
    }
    if device == "cuda":
        gpu = torch.cuda.get_device_properties(0)
        machine["gpu"] = gpu.name
        machine["gpu_memory_gib"] = gpu.total_memory >> 30
        machine["multiprocessors"] = gpu.multi_processor_count
        machine["cuda"] = torch.version.cuda
        machine |= _driver()
    return machine


def describe_versions() -> dict[str, str]:
    """Return the versions of what computes; packages that are not installed are left out."""
    versions = {
        "mflag": mflag.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    for name in ("torchvision", "triton", "timm", "lightly"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def command_line(module: str) -> str:
    """Return the command that was typed."""
    return " ".join(["python -m", module, *sys.argv[1:]])


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def _driver() -> dict[str, str]:
    """Driver, clocks and power cap, as nvidia-smi says; nothing without it."""
    names = ("driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit")
    command = ["nvidia-smi", "--id=0", f"--query-gpu={','.join(names)}", "--format=csv,noheader"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    values = run.stdout.strip().split(", ")
    return dict(zip((name.replace(".", "_") for name in names), values, strict=False))


def _commit() -> str:
    """Short hash, with ``-dirty`` where files other than results differ from it."""
    status = ["git", "status", "--porcelain", "--", ".", ":!bench/results", ":!docs"]
    try:
        commit, changed = (
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
            for command in (["git", "rev-parse", "--short=12", "HEAD"], status)
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit
