"""The alignment loss: one launch, in Triton and in CUDA."""

from pathlib import Path
from typing import Any

from mflag.kernels.alignment import alignment_kernel
from mflag.kernels.launch_table import alignment_row

from bench.compiled.case import CudaCase, CudaLaunch, Launch, TritonCase

INTEGERS = ("B", "D", "rows", "a_stride", "t_stride")
CPP_TYPES = {"fp32": "float", "fp16": "__half", "bf16": "__nv_bfloat16", "fp64": "double"}


def _triton(columns: int, a: str, t: str, flag: str = "", quick: bool = False) -> TritonCase:
    """Rows of a table and the first gradient.

    ``flag``: ``pairs`` (no index, both gradients) or ``strided`` (a table with gaps in its rows).
    """
    wide = "*fp64" if a == "fp64" else "*fp32"
    types = {"z_a": f"*{a}", "z_t": f"*{t}", "index": "*i64", "partial": "*fp64"}
    types |= {"counter": "*i32", "loss": wide, "gradient_a": wide, "gradient_t": wide}
    types |= dict.fromkeys((*INTEGERS, "a_step", "t_step"), "i32")
    row = alignment_row(columns)
    constants: dict[str, Any] = {"FACTOR": 1.0, "WIDTH": row.width, "a_step": 1}
    constants |= {} if flag == "strided" else {"t_step": 1}
    is_pairs = flag == "pairs"
    constants |= {"index": None, "index_step": 0} if is_pairs else {"index_step": 1}
    constants |= {} if is_pairs else {"gradient_t": None}
    return TritonCase(
        op="alignment",
        name="-".join(filter(None, (str(columns), flag))),
        dtype=f"{a}-{t}",
        kernel=alignment_kernel,
        types=types,
        launch=lambda capability: Launch(constants, row.warps, has_assertions=True),
        aligned=("D", "a_stride", "t_stride") if columns % 16 == 0 else (),
        quick=quick,
    )


def _cuda(a: str, quick: bool = False) -> CudaCase:
    """The embeddings' type with every type of the text, by vectors and by single elements."""
    names = []
    for t in CPP_TYPES:
        width = 2 if "fp64" in (a, t) else 4 if "fp32" in (a, t) else 8
        wide = "double" if a == "fp64" else "float"
        types = f"{CPP_TYPES[a]}, {CPP_TYPES[t]}, {wide}"
        names += [f"alignment_kernel<{width}>(mflag::alignment::Parameters<{types}>)"]
        names += [f"alignment_kernel<1>(mflag::alignment::Parameters<{types}>)"]
    return CudaCase(
        op="alignment",
        name="every-text",
        dtype=a,
        source=Path("csrc/cuda/alignment_kernels.cuh"),
        launches=lambda capability: {"alignment_kernel": CudaLaunch(256)},
        instantiate="\n".join(f"template __global__ void mflag::alignment::{x};" for x in names),
        quick=quick,
    )


CASES = [
    _triton(768, "fp32", "fp16", quick=True),
    _triton(768, "bf16", "fp16"),
    _triton(768, "fp32", "fp32", "pairs"),
    _triton(770, "fp32", "fp16"),
    _triton(4096, "fp32", "fp16"),
    _triton(4097, "fp32", "fp32", "pairs"),
    _triton(768, "fp64", "fp64", "pairs"),
    _triton(768, "fp32", "fp16", "strided"),
    *(_cuda(a, quick=a == "fp32") for a in CPP_TYPES),
]
