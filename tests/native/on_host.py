"""Compile device code for the host (cuda_on_host.h) and call it on torch and numpy buffers."""

import ctypes
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent
CUDA = HERE.parents[1] / "csrc" / "cuda"
BUILT = HERE.parents[1] / "build" / "on_host"
FLAGS = "-std=c++20 -O2 -g1 -shared -fPIC -Wall -Wextra -Werror -Wno-unknown-pragmas".split()
# Undefined behaviour ends the process with its line; the rest is arithmetic as nvcc is told it.
CHECKS = "-fsanitize=undefined -fno-sanitize=vptr -fno-sanitize-recover -static-libubsan".split()
ARITHMETIC = "-ffp-contract=off -fno-strict-aliasing -march=native".split()


class Library:
    """A compiled driver; ``call`` raises RuntimeError with the emulator's message."""

    def __init__(self, path: Path) -> None:
        self._functions = ctypes.CDLL(str(path))
        self._functions.cuda_on_host_error.restype = ctypes.c_char_p

    def call(self, name: str, *arguments: Any) -> None:
        """Call ``int name(...)``: tensors and arrays are pointers, int is int64_t, float double."""
        function = getattr(self._functions, name)
        if function(*map(_argument, arguments)) != 0:
            raise RuntimeError(self._functions.cuda_on_host_error().decode())


def _argument(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return ctypes.c_void_p(value.data_ptr())
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    if value is None:
        return ctypes.c_void_p(0)
    return ctypes.c_double(value) if isinstance(value, float) else ctypes.c_int64(value)


def headers() -> list[Path]:
    """Return what a driver may include: a library is built again when one of these changes."""
    return sorted([*HERE.glob("*.h"), *CUDA.parent.rglob("*.*h")])


def compile_on_host(driver: str, sanitize: bool = False) -> Library:
    """Compile ``tests/native/<driver>``; skips the test where there is no g++.

    Args:
        driver: the name of a .cpp file beside this one.
        sanitize: stop at undefined behaviour (misaligned vector loads, index overflow).
    """
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ was not found")
    flags = [*FLAGS, *ARITHMETIC, *(CHECKS if sanitize else [])]
    digest = hashlib.sha256(" ".join(flags).encode())
    for part in (HERE / driver, *headers()):
        digest.update(part.read_bytes())
    library = BUILT / f"{Path(driver).stem}-{digest.hexdigest()[:16]}.so"
    if not library.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        own = library.with_suffix(f".{os.getpid()}")
        command = [compiler, *flags, f"-I{CUDA}", f"-I{HERE}", str(HERE / driver), "-o", str(own)]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode != 0:
            raise RuntimeError(f"{driver} does not compile:\n{ran.stderr[-8000:]}")
        own.replace(library)
    return Library(library)
