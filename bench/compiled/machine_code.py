"""Read a cubin: resources and instructions of each kernel."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

MATRIX = re.compile(r"(?<![.\w])[A-Z]+MMA\b")  # HMMA, HGMMA, ...; HFMA2.MMA only makes constants


class Code(NamedTuple):
    """One kernel of a cubin; bytes of stack and local memory together are ``spills``."""

    registers: int
    spills: int
    static_shared: int
    fma: int
    mma: int


def read_cubin(path: Path) -> dict[str, Code]:
    """Return the kernels of a cubin by their mangled name."""
    usage = _run("-res-usage", path)
    found = re.findall(
        r"Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", usage, re.MULTILINE
    )
    if not found:
        raise RuntimeError(f"cuobjdump names no kernel: {usage}")
    instructions = _instructions(path)
    return {
        name: Code(int(registers), int(stack) + int(local), int(shared), *instructions[name])
        for name, registers, stack, shared, local in found
    }


def _instructions(path: Path) -> dict[str, tuple[int, int]]:
    """Float32 multiply-adds and matrix instructions of every kernel."""
    parts = re.split(r"^\s*Function : (\S+)$", _run("-sass", path), flags=re.MULTILINE)
    return {
        name: (len(re.findall(r"\bFFMA\b", code)), len(MATRIX.findall(code)))
        for name, code in zip(parts[1::2], parts[2::2], strict=True)
    }


def _run(option: str, path: Path) -> str:
    run = subprocess.run([cuobjdump(), option, path], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"cuobjdump {option}: {run.stdout}{run.stderr}")
    return run.stdout


def cuobjdump() -> Path:
    """Return triton's own copy, or that of a CUDA toolkit."""
    import triton

    own = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    other = shutil.which("cuobjdump")
    if not own.is_file() and other:
        return Path(other)
    return own
