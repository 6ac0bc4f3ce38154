"""The orthogonality loss of few rows: its two launches, and the two more of ``sample``."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import triton
from mflag.kernels.launch_table import orthogonality_dual_row
from mflag.kernels.orthogonality_dual import (
    gradient_kernel,
    gram_kernel,
    row_moment_kernel,
    row_scale_kernel,
)
from mflag.kernels.orthogonality_formula import CODES

from bench.compiled.case import Launch, TritonCase

ROW_SCALE = {"row_scale": "*fp32", "row_stride": "i32", "N": "i32"}
GRAM = {
    "row_scale": "*fp32",
    "partial": "*fp32",
    "partial_diagonal": "*fp64",
    "K": "*fp32",
    "diagonal": "*fp64",
    "counters": "*i32",
} | dict.fromkeys(("row_stride", "B", "N", "span", "slots", "pairs"), "i32")
GRADIENT = {
    "row_scale": "*fp32",
    "K": "*fp32",
    "diagonal": "*fp64",
    "row_moment": "*fp64",
    "partial": "*fp64",
    "counter": "*i32",
    "loss": "*fp32",
    "gradient": "*fp32",
} | dict.fromkeys(("row_stride", "B", "N", "slots", "tiles"), "i32")
ROW_MOMENT = {
    "row_scale": "*fp32",
    "diagonal": "*fp64",
    "partial": "*fp64",
} | dict.fromkeys(("row_stride", "B", "N", "span"), "i32")
FORMULA = {
    "SCALE": 0.0,
    "TARGET": 1.0,
    "LAMBDA": 0.0051,
    "FACTOR": 0.5,
    "EPS": 1e-12,
    "DELTA": 1.0,
}
KERNELS: tuple[tuple[Any, dict[str, str], str], ...] = (
    (gram_kernel, GRAM, "gram_warps"),
    (gradient_kernel, GRADIENT, "gradient_warps"),
)


def _cases(norm: str, batch: int, dtype: str, flag: str = "", quick: bool = False) -> Iterator:
    """``ragged``: N is no multiple of 16; ``value``: no gradient; ``whole``: λ = 1."""
    rows = max(16, triton.next_power_of_2(batch))
    is_sample = norm == "sample"

    def launch(warps: str, capability: int) -> Launch:
        row = orthogonality_dual_row(capability, rows, is_sample)
        constants = FORMULA | {"NORM": CODES[norm], "ROWS": rows, "NEED_GRAD": flag != "value"}
        constants |= {"SIDE": row.side, "DEPTH": row.depth}
        constants |= {"COLUMNS": row.columns, "STEP": row.step}
        if flag == "whole":
            constants["LAMBDA"] = 1.0
        if batch == 1:  # triton makes constants of arguments that are 1
            constants |= {"B": 1, "pairs": 1}
        return Launch(constants, getattr(row, warps))

    shared: dict[str, Any] = {
        "op": "orthogonality",
        "name": "-".join(filter(None, (norm, str(batch), flag))),
        "dtype": dtype,
        "aligned": () if flag == "ragged" else ("row_stride", "N"),
        "quick": quick,
    }
    for kernel, types, warps in KERNELS:
        has_products = kernel is gram_kernel or flag != "value"
        yield TritonCase(
            kernel=kernel,
            types=types | {"z": f"*{dtype}"},
            launch=partial(launch, warps),
            products="fma" if has_products else "none",
            absent="5.100000e-03 : f32",  # λ rounded to float32
            **shared,
        )
    if is_sample:
        yield TritonCase(
            kernel=row_moment_kernel,
            types=ROW_MOMENT | {"z": f"*{dtype}"},
            launch=partial(launch, "gradient_warps"),
            **shared,
        )
        yield TritonCase(
            kernel=row_scale_kernel,
            types=ROW_SCALE | {"z": f"*{dtype}"},
            launch=lambda capability: Launch({"WIDTH": 1024}, 4),
            **shared,
        )


CASES = [
    case
    for norm in CODES
    for batch in (128, 256)
    for dtype in ("fp32", "bf16", "fp16")
    for case in _cases(
        norm,
        batch,
        dtype,
        quick=(norm, batch, dtype) in (("none", 256, "fp32"), ("standardize", 128, "fp32")),
    )
]
for flag in ("value", "whole", "ragged"):
    CASES += _cases("none", 128, "fp32", flag, quick=flag == "value")
    CASES += _cases("sample", 256, "fp32", flag)
CASES += _cases("standardize", 1, "fp32")
CASES += _cases("sample", 1, "fp32", "ragged")
CASES += _cases("sample", 100, "fp32", "ragged", quick=True)
