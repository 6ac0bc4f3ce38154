"""Compile one Triton kernel for an architecture."""

import tempfile
from pathlib import Path

from bench.compiled.architecture import blocks_per_multiprocessor
from bench.compiled.case import Resources, TritonCase
from bench.compiled.machine_code import read_cubin


def compile_triton(case: TritonCase, capability: int) -> Resources:
    """Compile ``case`` ahead of time; no GPU is needed, and no ``TRITON_INTERPRET`` may be set.

    Raises:
        ValueError: the kernel holds what ``case.absent`` forbids.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    launch = case.launch(capability)
    kernel = case.kernel
    kept = {param.name for param in kernel.params if param.do_not_specialize}
    constants = {
        name: value
        for name, value in launch.constants.items()
        if name in kernel.arg_names and name not in kept
    }
    signature = {
        name: case.types[name] if name in case.types and name not in constants else "constexpr"
        for name in kernel.arg_names
    }
    aligned = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(kernel.arg_names)
        if signature[name].startswith("*")
        or (name in case.aligned and signature[name] != "constexpr")
    }
    compiled = triton.compile(
        ASTSource(kernel, signature, constants, aligned),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": launch.warps, "num_stages": launch.stages},
    )
    if case.absent and case.absent in compiled.asm["ttir"]:
        raise ValueError(f"{kernel.__name__} ({case.name}) holds {case.absent!r}")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(compiled.asm["cubin"])
        (code,) = read_cubin(Path(file.name)).values()
    shared, threads = compiled.metadata.shared, 32 * launch.warps
    return Resources(
        registers=code.registers,
        spills=code.spills,
        shared=shared,
        threads=threads,
        occupancy=blocks_per_multiprocessor(code.registers, shared, threads, capability),
        fma=code.fma,
        mma=code.mma,
        cubin_bytes=len(compiled.asm["cubin"]),
        products=case.products,
    )
