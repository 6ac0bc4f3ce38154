"""Compile every GPU kernel for sm_80 and sm_90 and table what each takes: no GPU is needed.

python -m bench.compiled --out bench/results      writes compiled.json
python -m bench.compiled --ops lars --quick       prints only
"""

import argparse
import importlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench.compiled
from bench.compiled.architecture import ARCHITECTURES
from bench.compiled.case import CudaCase, TritonCase
from bench.compiled.cuda_source import compile_cuda, missing_nvcc
from bench.compiled.limits import complaints
from bench.compiled.triton_kernel import compile_triton
from bench.machine import command_line
from mflag.runtime.atomic_write import write_json

Case = TritonCase | CudaCase


def main() -> None:
    """Compile, print a line a kernel, write compiled.json; exit with 1 when a kernel fails."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.compiled",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, help="folder for compiled.json; without it, print only")
    parser.add_argument("--ops", default="all", help=f"of {', '.join(op_names())}; comma between")
    parser.add_argument("--quick", action="store_true", help="only the cases of make test")
    parser.add_argument("--arch", type=int, action="append", help="80 or 90; both when left out")
    given = parser.parse_args()
    # Triton's interpreter has no compiler; it is chosen when triton is imported.
    os.environ.pop("TRITON_INTERPRET", None)
    names = op_names() if given.ops == "all" else given.ops.split(",")
    if unknown := set(names) - set(op_names()):
        parser.error(f"--ops: {', '.join(unknown)} has no cases; there are {', '.join(op_names())}")
    cases = [case for name in names for case in cases_of(name) if case.quick or not given.quick]
    skipped: list[dict[str, str]] = []
    rows = []
    for row in _compile(cases, given.arch or list(ARCHITECTURES), skipped):
        print(
            f"{row['op']} {row['backend']} {row['kernel']} {row['case']} {row['dtype']} "
            f"{row['arch']}: {row['registers']} registers, {row['spills']} bytes spilled, "
            f"{row['shared']} shared, {row['occupancy']} blocks a multiprocessor",
            flush=True,
        )
        rows.append(row)
    for line in skipped:
        print(f"skipped: {line['what']}: {line['reason']}")
    if given.out:
        content = {
            "format": 1,
            "versions": _versions(),
            "command": command_line("bench.compiled"),
            "skipped": skipped,
            "rows": rows,
        }
        write_json(given.out / "compiled.json", content)
        print(f"written: {given.out / 'compiled.json'}")
    wrong = [line for row in rows for line in complaints(row)]
    if wrong:
        sys.exit("\n".join(wrong))


def op_names() -> list[str]:
    """Return the ops that have a file with ``CASES`` here."""
    folder = Path(bench.compiled.__file__).parent
    names = [module.name for module in pkgutil.iter_modules([str(folder)])]
    return [name for name in names if "\nCASES" in (folder / f"{name}.py").read_text()]


def cases_of(op: str) -> list[Case]:
    """Return the cases of one op; imports its kernels."""
    return importlib.import_module(f"bench.compiled.{op}").CASES


def _compile(
    cases: list[Case], capabilities: list[int], skipped: list[dict[str, str]]
) -> Iterator[dict[str, Any]]:
    for case in cases:
        for capability in capabilities:
            where = {"op": case.op, "case": case.name, "dtype": case.dtype}
            where["arch"] = f"sm_{capability}"
            if isinstance(case, TritonCase):
                usage = compile_triton(case, capability)
                yield {**where, "backend": "triton", "kernel": case.kernel.__name__} | vars(usage)
            elif reason := missing_nvcc():
                skipped.append({"what": f"{case.source} {where['arch']}", "reason": reason})
            else:
                launches = case.launches(capability)
                found = compile_cuda(case.source, capability, launches, case.instantiate)
                for kernel, usage in found.items():
                    yield {**where, "backend": "cuda", "kernel": kernel} | vars(usage)


def _versions() -> dict[str, str]:
    import torch
    import triton

    ptxas = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    return {
        "torch": torch.__version__,
        "triton": triton.__version__,
        "ptxas": _release([str(ptxas), "--version"]),
        "nvcc": missing_nvcc() or _release(["nvcc", "--version"]),
    }


def _release(command: list[str]) -> str:
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return text.rsplit("release ", 1)[-1].split("\n")[0]


if __name__ == "__main__":
    main()
