"""Compile one CUDA source for an architecture."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench.compiled.architecture import blocks_per_multiprocessor
from bench.compiled.case import CudaLaunch, Resources
from bench.compiled.machine_code import Code, read_cubin

ROOT = Path(__file__).parents[2]
FLAGS = ("-std=c++20", "-O3", "-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra,-Werror")


def missing_nvcc() -> str | None:
    """Return why no CUDA source can be compiled here; None when it can."""
    return None if shutil.which("nvcc") else "nvcc was not found"


def compile_cuda(
    source: Path,
    capability: int,
    launches: Mapping[str, CudaLaunch],
    instantiate: str = "",
) -> dict[str, Resources]:
    """Compile the kernels of a ``.cuh`` or ``.cu``; needs nvcc, no GPU and no torch.

    Args:
        source: relative to the repository; its folder and csrc/ are searched for headers.
        capability: 80, 90, ...
        launches: every kernel's launch, by its name without namespace and arguments.
        instantiate: C++ put after the ``#include``: the template instances wanted.

    Returns:
        By kernel, with template arguments where it has them: ``sum_kernel<float, 128>``.

    Raises:
        RuntimeError: nvcc refuses the source, or a kernel is not in ``launches``.
    """
    path = ROOT / source
    with tempfile.TemporaryDirectory() as folder:
        unit, cubin = Path(folder, "unit.cu"), Path(folder, "unit.cubin")
        unit.write_text(f'#include "{path}"\n{instantiate}\n')
        command = ["nvcc", "-cubin", f"-arch=sm_{capability}", *FLAGS]
        command += [f"-I{ROOT / 'csrc'}", f"-I{path.parent}", "-o", str(cubin), str(unit)]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"nvcc refuses {source}:\n{run.stdout}{run.stderr}")
        kernels, size = read_cubin(cubin), cubin.stat().st_size
    found = {}
    for mangled, code in kernels.items():
        name = _kernel_name(mangled)
        plain = name.partition("<")[0]
        if plain not in launches:
            raise RuntimeError(f"{source}: say how {plain} is launched")
        found[name] = _resources(code, launches[plain], capability, size)
    return found


def _resources(code: Code, launch: CudaLaunch, capability: int, size: int) -> Resources:
    shared = code.static_shared + launch.dynamic_shared
    return Resources(
        registers=code.registers,
        spills=code.spills,
        shared=shared,
        threads=launch.threads,
        occupancy=blocks_per_multiprocessor(code.registers, shared, launch.threads, capability),
        fma=code.fma,
        mma=code.mma,
        cubin_bytes=size,
        products=launch.products,
    )


def _kernel_name(mangled: str) -> str:
    """``void ns::name<float, 4>(float *, int)`` as ``name<float, 4>``."""
    run = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True)
    text = run.stdout.strip().replace("(anonymous namespace)::", "")
    # The argument list is the last (...) that is not inside <...>.
    depth, begin = 0, len(text)
    for place, letter in enumerate(text):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            begin = place
            break
    name = text[:begin].removeprefix("void ")
    head, angle, arguments = name.partition("<")
    return re.sub(r".*::", "", head) + angle + arguments
