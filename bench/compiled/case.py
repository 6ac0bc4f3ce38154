"""What one compilation is told and what it gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

Products = Literal["none", "fma", "mma"]


class Launch(NamedTuple):
    """What the launch table says for one architecture.

    ``constants`` may name arguments that the kernel lacks: they are left out.
    """

    constants: Mapping[str, Any]
    warps: int
    stages: int = 3


@dataclass(frozen=True, kw_only=True)
class TritonCase:
    """One Triton kernel with one set of constants.

    ``types`` gives the arguments that stay arguments: ``*fp32``, ``i32``, ... ``aligned`` names the
    integers among them that are multiples of 16; pointers always are. ``products`` is what the
    matrix products must be made of: ``fma`` for IEEE float32, ``mma`` for tensor cores.
    ``absent`` may not appear in Triton's own form of the kernel, as a constant rounded to float32.
    ``quick`` cases run in ``make test``, all of them in ``make check``.
    """

    op: str
    name: str
    dtype: str
    kernel: Any
    types: Mapping[str, str]
    launch: Callable[[int], Launch]
    aligned: tuple[str, ...] = ()
    products: Products = "none"
    absent: str | None = None
    quick: bool = False


class CudaLaunch(NamedTuple):
    """How a kernel is launched: threads a block, bytes of dynamic shared memory, its products."""

    threads: int
    dynamic_shared: int = 0
    products: Products = "none"


@dataclass(frozen=True, kw_only=True)
class CudaCase:
    """The kernels of one CUDA source.

    ``source`` is relative to the repository; ``instantiate`` is C++ that is put after its
    ``#include`` to name the template instances wanted. ``launches`` gives each kernel by its name
    (without namespace and arguments), for a capability.
    """

    op: str
    name: str
    dtype: str
    source: Path
    launches: Callable[[int], Mapping[str, CudaLaunch]]
    instantiate: str = ""
    quick: bool = False


@dataclass(frozen=True)
class Resources:
    """What one compiled kernel takes; bytes, and counts of instructions in the machine code."""

    registers: int
    spills: int  # bytes of stack and local memory a thread
    shared: int
    threads: int
    occupancy: int  # blocks that fit on one multiprocessor
    fma: int
    mma: int
    cubin_bytes: int
    products: Products = "none"
