"""Compile every Triton kernel where integer arguments are 1: triton makes Python integers of these.

The interpreter does not, so only this finds a method of a tensor that is called on an integer. Up
to Triton's own form, for sm_80; prints a line for each kernel that fails.
"""

import importlib
from collections.abc import Iterator

from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, CompilationError, make_backend

from bench.compiled.__main__ import op_names
from bench.compiled.case import TritonCase

TARGET = GPUTarget("cuda", 80, 32)


def first_cases() -> Iterator[TritonCase]:
    """One case a kernel."""
    found: dict[str, TritonCase] = {}
    for name in op_names():
        for case in importlib.import_module(f"bench.compiled.{name}").CASES:
            if isinstance(case, TritonCase):
                found.setdefault(case.kernel.__name__, case)
    yield from found.values()


def failures(case: TritonCase) -> Iterator[str]:
    """Names of the integer arguments of a kernel that may not be 1."""
    launch, kernel = case.launch(80), case.kernel
    kept = {param.name for param in kernel.params if param.do_not_specialize}
    fixed = {name: value for name, value in launch.constants.items() if name in kernel.arg_names}
    types = {name: kind for name, kind in case.types.items() if name in kernel.arg_names}
    backend = make_backend(TARGET)
    options = backend.parse_options({"num_warps": launch.warps})
    for one in (name for name in types if types[name] == "i32" and name not in {*kept, *fixed}):
        constants = fixed | {one: 1}
        signature = {
            name: "constexpr" if name in constants else types[name] for name in kernel.arg_names
        }
        context = ir.context()
        ir.load_dialects(context)
        backend.load_dialects(context)
        helpers = backend.get_codegen_implementation(options), backend.get_module_map()
        try:
            ASTSource(kernel, signature, constants, {}).make_ir(TARGET, options, *helpers, context)
        except CompilationError as error:
            yield f"{one}: {error.__cause__ or error}"


def main() -> None:
    """Print what fails, and how many kernels were compiled."""
    cases = list(first_cases())
    for case in cases:
        for failure in failures(case):
            print(f"{case.kernel.__name__} {failure}")
    print(f"{len(cases)} kernels")


if __name__ == "__main__":
    main()
