"""The orthogonality loss: the two launches of the dual form, and the scale of rows."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import triton
from mflag.kernels.launch_table import orthogonality_dual_row
from mflag.kernels.orthogonality_dual import CODES, gradient_kernel, gram_kernel, row_scale_kernel

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
    "partial": "*fp64",
    "counter": "*i32",
    "loss": "*fp32",
    "gradient": "*fp32",
} | dict.fromkeys(("row_stride", "B", "N", "tiles"), "i32")
FORMULA = {"SCALE": 0.0, "TARGET": 1.0, "LAMBDA": 0.0051, "FACTOR": 0.5, "EPS": 1e-12}
KERNELS: tuple[tuple[Any, dict[str, str], str], ...] = (
    (gram_kernel, GRAM, "gram_warps"),
    (gradient_kernel, GRADIENT, "gradient_warps"),
)


def _cases(norm: str, batch: int, dtype: str, flag: str = "", quick: bool = False) -> Iterator:
    """``flag``: ``ragged`` (N is no multiple of 16) or ``value`` (no gradient)."""
    rows = max(16, triton.next_power_of_2(batch))
    is_sample = norm == "sample"

    def launch(warps: str, capability: int) -> Launch:
        row = orthogonality_dual_row(capability, rows, is_sample)
        constants = FORMULA | {"NORM": CODES[norm], "ROWS": rows, "NEED_GRAD": flag != "value"}
        constants |= {"SIDE": row.side, "DEPTH": row.depth}
        constants |= {"COLUMNS": row.columns, "STEP": row.step}
        if is_sample:
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
CASES += _cases("standardize", 1, "fp32")
CASES += _cases("sample", 1, "fp32", "ragged")
CASES += _cases("sample", 100, "fp32", "ragged", quick=True)
CASES += _cases("none", 128, "fp32", "value", quick=True)
