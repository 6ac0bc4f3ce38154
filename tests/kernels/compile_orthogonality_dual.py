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
from mflag.kernels.orthogonality_dual import CODES, gradient_kernel, gram_kernel
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

GRAM = {
    "partial": "*fp32",
    "partial_diagonal": "*fp64",
    "K": "*fp32",
    "diagonal": "*fp64",
    "counters": "*i32",
} | {name: "i32" for name in ("row_stride", "B", "N", "span", "slots", "pairs")}
GRADIENT = {
    "K": "*fp32",
    "diagonal": "*fp64",
    "partial": "*fp64",
    "counter": "*i32",
    "loss": "*fp32",
} | {name: "i32" for name in ("row_stride", "B", "N", "tiles")}
FORMULA = {"SCALE": 0.0, "TARGET": 1.0, "LAMBDA": 0.0051, "FACTOR": 0.5, "EPS": 1e-12}


def compile_kernel(kernel, types, constants, capability, warps):
    """Return registers, stack bytes, shared bytes and the matrix instructions of one kernel."""
    constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
    signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
    aligned = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(kernel.arg_names)
        if signature[name].startswith("*") or name in ("row_stride", "N")
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


def main():
    capability, dtype, *cases = sys.argv[1:]
    found = []
    for case in cases:  # norm-rows
        norm, rows = case.split("-")
        row = orthogonality_dual_row(int(capability), int(rows))
        constants = FORMULA | {"NORM": CODES[norm], "ROWS": int(rows)}
        constants |= {"SIDE": row.side, "DEPTH": row.depth, "COLUMNS": row.columns}
        constants |= {"STEP": row.step, "NEED_GRAD": True}
        if norm == "sample":
            constants["LAMBDA"] = 1.0
        for kernel, types, warps in (
            (gram_kernel, GRAM, row.gram_warps),
            (gradient_kernel, GRADIENT | {"gradient": f"*{dtype}"}, row.gradient_warps),
        ):
            types = types | {"z": f"*{dtype}"}
            usage = compile_kernel(kernel, types, constants, int(capability), warps)
            found.append({"kernel": kernel.__name__, "case": case} | usage)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
