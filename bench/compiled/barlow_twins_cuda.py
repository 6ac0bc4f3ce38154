"""The Barlow Twins loss in CUDA: the launches of csrc/cuda/barlow_twins_steps.h."""

from pathlib import Path

from bench.compiled.case import CudaCase, CudaLaunch
from bench.compiled.orthogonality_cuda import PROBLEM, TYPES


def _case(dtype: str) -> CudaCase:
    z = f"const {TYPES[dtype]}*"
    return CudaCase(
        op="barlow_twins",
        name="launches",
        dtype=dtype,
        source=Path("csrc/cuda/barlow_twins_kernels.cuh"),
        launches=lambda capability: {
            "standardise_views": CudaLaunch(512),
            "gram_pair_sums": CudaLaunch(256),
            "cross_sums": CudaLaunch(256),
            "finish_views": CudaLaunch(512),
        },
        instantiate=(
            "namespace mflag::barlow_twins {\n"
            f"template __global__ void standardise_views({PROBLEM}, {z}, {z});\n}}"
        ),
        quick=dtype == "fp32",
    )


CASES = [_case(dtype) for dtype in TYPES]
