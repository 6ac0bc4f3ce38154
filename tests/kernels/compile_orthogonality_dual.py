"""Compile the kernels for GPUs that are not here; print what each one takes, as JSON.

A program of its own: the tests' process has triton's interpreter, this one its compiler.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import triton
from mflag.kernels.launch_table import orthogonality_dual_row
from mflag.kernels.orthogonality_dual import CODES, gradient_kernel, gram_kernel, row_scale_kernel
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

ROW_SCALE = {"row_scale": "*fp32", "row_stride": "i32", "N": "i32"}
GRAM = {
    "row_scale": "*fp32",
    "partial": "*fp32",
    "partial_diagonal": "*fp64",
    "K": "*fp32",
    "diagonal": "*fp64",
    "counters": "*i32",
} | {name: "i32" for name in ("row_stride", "B", "N", "span", "slots", "pairs")}
GRADIENT = {
    "row_scale": "*fp32",
    "K": "*fp32",
    "diagonal": "*fp64",
    "partial": "*fp64",
    "counter": "*i32",
    "loss": "*fp32",
    "gradient": "*fp32",
} | {name: "i32" for name in ("row_stride", "B", "N", "tiles")}
FORMULA = {"SCALE": 0.0, "TARGET": 1.0, "LAMBDA": 0.0051, "FACTOR": 0.5, "EPS": 1e-12}


def compile_kernel(kernel, types, constants, capability, warps, divisible):
    """Return registers, stack bytes, shared bytes and the matrix instructions of one kernel."""
    kept = {param.name for param in kernel.params if param.do_not_specialize}
    constants = {
        name: value
        for name, value in constants.items()
        if name in kernel.arg_names and name not in kept
    }
    types = {name: kind for name, kind in types.items() if name not in constants}
    signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
    aligned = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(kernel.arg_names)
        if signature[name].startswith("*") or (divisible and name in ("row_stride", "N"))
    }
    source = ASTSource(kernel, signature, constants, aligned)
    target = GPUTarget("cuda", capability, 32)
    compiled = triton.compile(source, target=target, options={"num_warps": warps})
    usage = resources(compiled.asm["cubin"])
    return usage | {
        "cubin": len(compiled.asm["cubin"]),
        "shared": compiled.metadata.shared,
        "mma": len(re.findall(r"\b(?:wgmma|mma\.sync)", compiled.asm["ptx"])),
        "fma": compiled.asm["ptx"].count("fma.rn.f32"),
        "lambda_in_float32": "5.100000e-03 : f32" in compiled.asm["ttir"],
    }


def resources(cubin):
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(cubin)
        text = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True)
    found = re.search(r"REG:(\d+) STACK:(\d+).*?LOCAL:(\d+)", text.stdout)
    if found is None:
        raise RuntimeError(f"cuobjdump says nothing: {text.stdout}{text.stderr}")
    registers, stack, local = (int(number) for number in found.groups())
    return {"registers": registers, "stack": stack, "local": local}


def compile_case(case, capability, dtype):
    """``norm-B``, then any of ``ragged`` (N is no multiple of 16) and ``value`` (no gradient)."""
    norm, batch, *flags = case.split("-")
    rows = max(16, triton.next_power_of_2(int(batch)))
    row = orthogonality_dual_row(capability, rows, norm == "sample")
    constants = FORMULA | {"NORM": CODES[norm], "ROWS": rows, "WIDTH": 1024}
    constants |= {"SIDE": row.side, "DEPTH": row.depth, "COLUMNS": row.columns}
    constants |= {"STEP": row.step, "NEED_GRAD": "value" not in flags}
    if norm == "sample":
        constants["LAMBDA"] = 1.0
    if batch == "1":  # triton makes constants of arguments that are 1
        constants |= {"B": 1, "pairs": 1}
    kernels = [(gram_kernel, GRAM, row.gram_warps), (gradient_kernel, GRADIENT, row.gradient_warps)]
    if norm == "sample":
        kernels.append((row_scale_kernel, ROW_SCALE, 4))
    for kernel, types, warps in kernels:
        types = types | {"z": f"*{dtype}"}
        usage = compile_kernel(kernel, types, constants, capability, warps, "ragged" not in flags)
        yield {"kernel": kernel.__name__, "case": case} | usage


def main():
    capability, dtype, *cases = sys.argv[1:]
    found = [usage for case in cases for usage in compile_case(case, int(capability), dtype)]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
