"""The orthogonality loss in CUDA: the launches of csrc/cuda/orthogonality_steps.h."""

from pathlib import Path

from bench.compiled.case import CudaCase, CudaLaunch

PROBLEM = "const __grid_constant__ Problem"
TYPES = {"fp32": "float", "bf16": "__nv_bfloat16", "fp16": "__half"}


def _instances(*kernels: str) -> str:
    lines = "\n".join(f"template __global__ void {kernel};" for kernel in kernels)
    return f"namespace mflag::orthogonality {{\n{lines}\n}}"


def _normalise(dtype: str) -> CudaCase:
    z = f"{PROBLEM}, const {TYPES[dtype]}*"
    return CudaCase(
        op="orthogonality",
        name="normalise",
        dtype=dtype,
        source=Path("csrc/cuda/orthogonality_normalise.cuh"),
        launches=lambda capability: {
            "normalise_columns": CudaLaunch(512),
            "normalise_rows": CudaLaunch(256),
        },
        instantiate=_instances(
            f"normalise_columns({z}, int, float*, double*)", f"normalise_rows({z}, float*)"
        ),
        quick=dtype == "bf16",
    )


def _gram(tile: int, by: str, dtype: str) -> CudaCase:
    shared = 4 * (2048 // tile) * (tile + 4) * 4
    return CudaCase(
        op="orthogonality",
        name=f"gram-{tile}-{by}",
        dtype=dtype,
        source=Path("csrc/cuda/orthogonality_gram.cuh"),
        launches=lambda capability: {
            "gram_kernel": CudaLaunch(256, shared, "fma"),
            "gram_sums": CudaLaunch(256),
        },
        instantiate=_instances(
            f"gram_kernel<{tile}, By::{by}>({PROBLEM}, const {TYPES[dtype]}*, bool, int64_t, "
            "float*, float*, double*)"
        ),
        quick=(tile, by, dtype) == (32, "columns", "fp32"),
    )


def _gradient(rows: int, tile: int) -> CudaCase:
    all_rows = rows * 1024 // tile
    return CudaCase(
        op="orthogonality",
        name=f"gradient-{all_rows}x{tile}",
        dtype="fp32",
        source=Path("csrc/cuda/orthogonality_gradient.cuh"),
        launches=lambda capability: {
            "gradient_kernel": CudaLaunch(256, 4 * all_rows * (tile + 16), "fma"),
            "finish_columns": CudaLaunch(512),
            "finish_rows": CudaLaunch(256),
        },
        instantiate=_instances(f"gradient_kernel<{rows}, {tile}>({PROBLEM}, const float*, bool)"),
        quick=(rows, tile) == (8, 32),
    )


CASES = [_normalise(dtype) for dtype in TYPES]
CASES += [
    _gram(tile, by, dtype)
    for tile in (32, 64)
    for by in ("nothing", "columns", "rows")
    for dtype in TYPES
]
CASES += [_gradient(rows, 16) for rows in (1, 2, 4)]
CASES += [_gradient(rows, 32) for rows in (2, 4, 8)]
