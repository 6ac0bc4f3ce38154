"""LARS: the norms and the update, in Triton and in CUDA."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import triton.language as tl
from mflag.kernels.lars import norms_kernel, update_kernel
from mflag.kernels.lars_carried import carried_update_kernel, repair_kernel
from mflag.kernels.lars_tables import CHUNK
from mflag.kernels.launch_table import lars_row

from bench.compiled.case import CudaCase, CudaLaunch, Launch, TritonCase

TYPES = {
    "table": "*i64",
    "chunk_rows": "*i32",
    "lr": "*fp32",
    "grad_scale": "*fp32",
    "found_inf": "*fp32",
    "partial": "*fp64",
    "counters": "*i32",
    "coefficients": "*fp64",
    "is_written": "*i32",
    "is_wrong": "*i32",
    "tripped": "*fp32",
}
NORMS = {"separate": 0, "decayed": 1, "momentum": 2}
DTYPES = {"fp32": tl.float32, "bf16": tl.bfloat16, "fp16": tl.float16, "fp64": tl.float64}
KERNELS: tuple[tuple[Any, str], ...] = (
    (norms_kernel, "norms_warps"),
    (update_kernel, "update_warps"),
)
CARRIED: tuple[tuple[Any, str], ...] = (
    (norms_kernel, "norms_warps"),
    (carried_update_kernel, "update_warps"),
    (repair_kernel, "update_warps"),
)


def _triton_cases(norm: str, dtype: str, flag: str, quick: bool = False) -> Iterator[TritonCase]:
    """``flag``: ``scaled`` (by GradScaler), ``misaligned``, ``nesterov``, or ``carried`` norms."""
    is_nesterov = flag == "nesterov"
    constants = dict.fromkeys(("W", "G", "M"), DTYPES[dtype]) | {
        "COMPUTE": tl.float64 if dtype == "fp64" else tl.float32,
        "NORM": NORMS[norm], "ZERO_IS_PLAIN": is_nesterov, "TRUST_CLIP": True,
        "CLIP_ZERO_NORM": True, "LR_IN_MOMENTUM": False, "MAXIMIZE": True,
        "HAS_STARTED": not is_nesterov, "HAS_MOMENTUM": True, "NESTEROV": is_nesterov,
        "IS_ALIGNED": flag != "misaligned", "CARRIES": flag == "carried", "CHUNK": CHUNK,
    }  # fmt: skip
    if flag != "scaled":
        constants |= {"grad_scale": None, "found_inf": None}

    def launch(warps: str, capability: int) -> Launch:
        return Launch(constants, getattr(lars_row(capability), warps))

    # The update does not know which norm divided.
    plain = KERNELS if norm == "separate" else KERNELS[:1]
    for kernel, warps in CARRIED if flag == "carried" else plain:
        yield TritonCase(
            op="lars",
            name=f"{norm}-{flag}",
            dtype=dtype,
            kernel=kernel,
            types=TYPES,
            launch=partial(launch, warps),
            quick=quick,
        )


def _cuda_case(dtypes: tuple[str, str, str]) -> CudaCase:
    names = {"fp32": "float", "bf16": "__nv_bfloat16", "fp16": "__half"}
    types = ", ".join(names[dtype] for dtype in dtypes)
    space = "mflag::lars::"
    argument = f"(const __grid_constant__ {space}Arguments)"
    kernels = [f"norms_kernel<{types}, {space}Norm::{norm}>" for norm in NORMS]
    kernels.append(f"update_kernel<{types}>")
    return CudaCase(
        op="lars",
        name="-".join(NORMS),
        dtype=" ".join(sorted(set(dtypes))),
        source=Path("csrc/cuda/lars_kernels.cuh"),
        launches=lambda _: dict.fromkeys(("norms_kernel", "update_kernel"), CudaLaunch(256)),
        instantiate="\n".join(f"template __global__ void {space}{k}{argument};" for k in kernels),
        quick=dtypes[0] == "fp32",
    )


CASES: list[TritonCase | CudaCase] = [
    case
    for norm in NORMS
    for dtype in DTYPES
    for flag in ("scaled", "misaligned", "nesterov")
    for case in _triton_cases(
        norm,
        dtype,
        flag,
        quick=dtype == "fp32"
        and (norm, flag) in (("separate", "scaled"), ("momentum", "misaligned")),
    )
]
for dtype in DTYPES:
    CASES += _triton_cases("separate", dtype, "carried", quick=dtype == "fp32")
CASES += [
    _cuda_case(dtypes)
    for dtypes in (
        ("fp32", "fp32", "fp32"),
        ("bf16", "bf16", "bf16"),
        ("bf16", "bf16", "fp32"),
        ("fp16", "fp16", "fp16"),
        ("fp16", "fp16", "fp32"),
    )
]
