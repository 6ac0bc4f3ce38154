"""Compile the LARS kernels for GPUs that are not here; print what each takes, as JSON.

A program of its own: the tests' process has triton's interpreter, this one its compiler.
"""

import json
import sys

import triton.language as tl
from mflag.kernels.lars import CHUNK, norms_kernel, update_kernel
from mflag.kernels.launch_table import lars_row

from tests.kernels.compile_orthogonality_dual import compile_kernel

TYPES = {
    "table": "*i64",
    "chunk_rows": "*i32",
    "lr": "*fp32",
    "grad_scale": "*fp32",
    "found_inf": "*fp32",
    "partial": "*fp64",
    "counters": "*i32",
    "coefficients": "*fp64",
}
NORMS = {"separate": 0, "decayed": 1, "momentum": 2}
DTYPES = {"fp32": tl.float32, "bf16": tl.bfloat16, "fp16": tl.float16, "fp64": tl.float64}


def compile_case(case, capability, dtype):
    """The name of a norm, then any of ``scaled``, ``misaligned``, ``nesterov``."""
    norm, *flags = case.split("-")
    storage = DTYPES[dtype]
    constants = {
        "W": storage, "G": storage, "M": storage,
        "COMPUTE": tl.float64 if dtype == "fp64" else tl.float32,
        "NORM": NORMS[norm], "ZERO_IS_PLAIN": "nesterov" in flags, "TRUST_CLIP": True,
        "CLIP_ZERO_NORM": True, "LR_IN_MOMENTUM": False, "MAXIMIZE": True,
        "HAS_STARTED": "nesterov" not in flags, "HAS_MOMENTUM": True,
        "NESTEROV": "nesterov" in flags,
        "IS_ALIGNED": "misaligned" not in flags, "CHUNK": CHUNK,
    }  # fmt: skip
    if "scaled" not in flags:
        constants |= {"grad_scale": None, "found_inf": None}
    row = lars_row(capability)
    for kernel, warps in ((norms_kernel, row.norms_warps), (update_kernel, row.update_warps)):
        usage = compile_kernel(kernel, TYPES, constants, capability, warps, True)
        yield {"kernel": kernel.__name__, "case": case} | usage


def main():
    capability, dtype, *cases = sys.argv[1:]
    found = [usage for case in cases for usage in compile_case(case, int(capability), dtype)]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
