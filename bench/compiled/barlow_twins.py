"""The Barlow Twins loss: its launches around torch's products."""

from typing import Any

from mflag.kernels.barlow_twins import (
    barlow_backward_kernel,
    barlow_dots_kernel,
    barlow_loss_kernel,
    pair_sums_kernel,
)
from mflag.kernels.launch_table import column_tiles, gram_tiles
from mflag.kernels.normalise import BLOCK

from bench.compiled.case import Launch, TritonCase

TYPES = (
    dict.fromkeys(("a", "b", "x", "y", "product", "loss"), "*fp32")
    | dict.fromkeys(("partial", "d", "squared"), "*fp64")
    | dict.fromkeys(("height", "width", "count", "B", "N", "rows_each", "chunks"), "i32")
)


def _case(name: str, kernel: Any, *, quick: bool = False, **constants: Any) -> TritonCase:
    def launch(capability: int) -> Launch:
        columns, gram = column_tiles(capability), gram_tiles(capability)
        every = {"LAMBDA": 0.0051, "BLOCK": BLOCK, "SIDE": gram.side, **constants}
        every |= {"COLUMNS": columns.columns, "STEP": columns.step}
        warps = gram.warps if kernel is pair_sums_kernel else 4
        return Launch(every, columns.warps if "COLUMNS" in kernel.arg_names else warps)

    return TritonCase(
        op="barlow_twins",
        name=name,
        dtype="fp32",
        kernel=kernel,
        types=TYPES,
        launch=launch,
        aligned=() if "ragged" in name else ("N",),
        absent="5.100000e-03 : f32",  # λ rounded to float32
        quick=quick,
    )


CASES = [
    _case("dual", pair_sums_kernel, IS_DUAL=True),
    _case("primal", pair_sums_kernel, IS_DUAL=False),
    _case("dual", barlow_loss_kernel, IS_DUAL=True),
    _case("primal", barlow_loss_kernel, IS_DUAL=False),
]
for kernel in (barlow_dots_kernel, barlow_backward_kernel):
    CASES.append(_case("dual", kernel, quick=True, IS_DUAL=True))
    CASES.append(_case("dual-ragged", kernel, IS_DUAL=True))
    CASES.append(_case("primal", kernel, IS_DUAL=False))
