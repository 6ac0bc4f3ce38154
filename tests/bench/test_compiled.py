"""The GPU kernels compile within the limits of sm_80 and sm_90, as the committed table says."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.compiled.architecture import blocks_per_multiprocessor
from bench.compiled.case import CudaLaunch
from bench.compiled.cuda_source import compile_cuda
from bench.compiled.limits import complaints

pytest.importorskip("triton", reason="triton is not installed")
ROOT = Path(__file__).parents[2]
COMMITTED = json.loads((ROOT / "bench/results/compiled.json").read_text())
KEY = ("op", "backend", "kernel", "case", "dtype", "arch")
FIGURES = ("registers", "spills", "shared", "threads", "occupancy", "mma")
NEEDS_NVCC = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc was not found")
GOOD = next(row for row in COMMITTED["rows"] if row["products"] == "fma")


def compiled(folder, *options):
    """What ``python -m bench.compiled`` writes; a process of its own, for triton's compiler."""
    command = [sys.executable, "-m", "bench.compiled", "--out", str(folder), *options]
    run = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr
    return json.loads((folder / "compiled.json").read_text())


def by_key(content):
    return {tuple(row[name] for name in KEY): row for row in content["rows"]}


def check_against_the_committed(content):
    found, committed = by_key(content), by_key(COMMITTED)
    assert set(found) <= set(committed), "run: python -m bench.compiled --out bench/results"
    same = all(
        content["versions"][name] == COMMITTED["versions"][name]
        for name in ("triton", "ptxas", "nvcc")
    )
    for key, row in found.items():
        assert not complaints(row)
        if same:
            assert [row[name] for name in FIGURES] == [committed[key][name] for name in FIGURES], (
                key
            )


def test_the_quick_cases_are_within_limits_and_as_committed(tmp_path):
    check_against_the_committed(compiled(tmp_path, "--quick"))


@pytest.mark.slow
def test_every_case_is_within_limits_and_committed(tmp_path):
    content = compiled(tmp_path)
    check_against_the_committed(content)
    if not content["skipped"]:
        assert set(by_key(content)) == set(by_key(COMMITTED))


def test_no_committed_kernel_breaks_a_limit():
    assert [line for row in COMMITTED["rows"] for line in complaints(row)] == []


@pytest.mark.parametrize(
    "change, message",
    [
        ({"spills": 8}, "8 bytes a thread go to memory"),
        ({"shared": 228 * 1024}, "bytes of shared memory"),
        ({"occupancy": 0}, "no block of"),
        ({"fma": 0}, "no float32 multiply-add"),
        ({"mma": 4}, "4 tensor-core instructions"),
        ({"products": "mma"}, "no tensor-core instruction"),
    ],
)
def test_a_kernel_beyond_a_limit_is_named(change, message):
    assert message in complaints(GOOD | change)[0]


@NEEDS_NVCC
def test_a_cuda_source_is_read_kernel_by_kernel():
    found = compile_cuda(
        Path("tests/bench/pair_sum.cuh"),
        80,
        {"pair_sum": CudaLaunch(128, dynamic_shared=100), "spilling": CudaLaunch(32)},
        "template __global__ void test::pair_sum<float, 128>(const float*, float*);",
    )
    assert found.keys() == {"pair_sum<float, 128>", "spilling"}
    assert found["pair_sum<float, 128>"].shared == 4 * 128 + 100
    assert found["pair_sum<float, 128>"].spills == 0 and found["pair_sum<float, 128>"].fma > 0
    assert found["spilling"].spills >= 256


@NEEDS_NVCC
def test_a_cuda_kernel_without_a_launch_is_refused():
    with pytest.raises(RuntimeError, match="say how spilling is launched"):
        compile_cuda(Path("tests/bench/pair_sum.cuh"), 90, {})


@pytest.mark.parametrize(
    "registers, shared, threads, blocks",
    [
        (32, 0, 256, 8),  # 2048 threads
        (168, 0, 256, 1),  # 12 warps of registers
        (64, 0, 1024, 1),
        (16, 48 * 1024, 128, 3),  # 49 of 164 KB
        (16, 163 * 1024, 128, 1),
        (16, 0, 32, 32),
    ],
)
def test_blocks_a_multiprocessor_as_by_nvidias_calculator(registers, shared, threads, blocks):
    assert blocks_per_multiprocessor(registers, shared, threads, 80) == blocks
