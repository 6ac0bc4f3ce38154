"""The orthogonality loss of any size: the launches around torch's products."""

from collections.abc import Iterator
from typing import Any

from mflag.kernels.gram_weights import weights_kernel
from mflag.kernels.launch_table import column_tiles, gram_tiles
from mflag.kernels.norm_backward import (
    column_backward_kernel,
    column_dots_kernel,
    row_backward_kernel,
)
from mflag.kernels.normalise import (
    ADD_UP_BLOCK,
    BLOCK,
    add_up_kernel,
    column_statistics_kernel,
    normalise_kernel,
    row_statistics_kernel,
)
from mflag.kernels.orthogonality_formula import CODES
from mflag.kernels.orthogonality_large import loss_kernel

from bench.compiled.case import Launch, TritonCase

FORMULA = {
    "SCALE": 0.0,
    "TARGET": 0.7,
    "LAMBDA": 0.0051,
    "FACTOR": 0.5,
    "EPS": 1e-12,
    "DELTA": 0.3,
}
POINTERS = {
    "z": "*fp32",
    "x": "*fp32",
    "product": "*fp32",
    "gram": "*fp32",
    "loss": "*fp32",
} | dict.fromkeys(
    ("partial", "statistics", "squared", "row_partial", "column_partial", "diagonal", "d", "alpha"),
    "*fp64",
)
INTEGERS = (
    *("B", "N", "rows_in_all", "rows_each", "chunks", "tiles", "row_blocks"),
    *("height", "width", "first", "count"),
)


def _case(
    name: str, kernel: Any, *, dtype: str = "fp32", quick: bool = False, **constants: Any
) -> TritonCase:
    """``ragged`` in the name: N is no multiple of 16."""

    def launch(capability: int) -> Launch:
        columns, gram = column_tiles(capability), gram_tiles(capability)
        every = FORMULA | {"BLOCK": BLOCK, "COLUMNS": columns.columns, "STEP": columns.step}
        every |= {"SIDE": gram.side} | constants
        warps = gram.warps if kernel is weights_kernel else 4
        return Launch(every, columns.warps if "COLUMNS" in kernel.arg_names else warps)

    return TritonCase(
        op="orthogonality",
        name=name,
        dtype=dtype,
        kernel=kernel,
        types=POINTERS | dict.fromkeys(INTEGERS, "i32") | {"z": f"*{dtype}"},
        launch=launch,
        aligned=() if "ragged" in name else ("N",),
        absent="5.100000e-03 : f32",  # λ rounded to float32
        quick=quick,
    )


def _cases_of(norm: str) -> Iterator[TritonCase]:
    code, needs = CODES[norm], {"NEEDS_ROWS": True, "NEEDS_COLUMNS": True}
    is_first = norm == "standardize"
    for dtype in ("fp32", "bf16", "fp16"):
        writes = norm != "none" or dtype != "fp32"
        constants = needs | {"NORM": code, "WRITES": writes}
        quick = is_first and dtype == "fp32"
        yield _case(norm, normalise_kernel, dtype=dtype, quick=quick, **constants)
    for is_dual in (True, False):
        form = {"NORM": code, "IS_DUAL": is_dual}
        name = f"{norm}-{'dual' if is_dual else 'primal'}"
        yield _case(name, weights_kernel, IS_TRIANGLE=True, quick=is_first and is_dual, **form)
        is_sample = norm == "sample"
        kernel = row_backward_kernel if is_sample else column_backward_kernel
        yield _case(name, kernel, quick=is_first and is_dual, **form)
        yield _case(f"{name}-ragged", kernel, **form)
    whole = {"NORM": code, "IS_DUAL": True, "LAMBDA": 1.0, "DELTA": 1.0}
    yield _case(f"{norm}-dual-whole", weights_kernel, IS_TRIANGLE=True, **whole)
    yield _case(f"{norm}-dual-part", weights_kernel, IS_TRIANGLE=False, **whole)
    yield _case(f"{norm}-dual-whole", kernel, **whole)


CASES = [case for norm in CODES for case in _cases_of(norm)]
for dtype in ("fp32", "bf16", "fp16"):
    CASES.append(_case("sample", row_statistics_kernel, dtype=dtype))
    for is_shifted in (True, False):
        name = "standardize" if is_shifted else "feature"
        CASES.append(_case(name, column_statistics_kernel, dtype=dtype, IS_SHIFTED=is_shifted))
for is_unit in (True, False):
    name = "unit" if is_unit else "any"
    CASES.append(_case(name, add_up_kernel, IS_UNIT=is_unit, BLOCK=ADD_UP_BLOCK, quick=is_unit))
for is_dual in (True, False):
    CASES.append(_case("dual" if is_dual else "primal", loss_kernel, IS_DUAL=is_dual))
CASES.append(_case("dual-whole", loss_kernel, IS_DUAL=True, LAMBDA=1.0, DELTA=1.0))
CASES.append(_case("any", column_dots_kernel, quick=True))
