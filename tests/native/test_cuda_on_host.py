"""The emulator runs device code, and finds what is wrong with it."""

import subprocess
from pathlib import Path

import pytest
import torch

from tests.native.on_host import CUDA, HERE, compile_on_host, headers


@pytest.fixture(scope="module")
def library():
    return compile_on_host("example.cpp", sanitize=True)


@pytest.mark.parametrize("driver", sorted(HERE.glob("*.cpp")), ids=lambda path: path.stem)
def test_every_header_of_a_driver_is_one_that_has_it_built_again(driver):
    command = ["g++", "-std=c++20", "-MM", f"-I{CUDA}", f"-I{HERE}", str(driver)]
    rule = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    included = {Path(name).resolve() for name in rule.replace("\\\n", " ").split()[2:]}
    assert included <= {path.resolve() for path in headers()} and len(included) > 1


def test_the_last_block_sums_in_every_order_of_blocks(library):
    values = torch.randn(1000)
    partials, counter = torch.empty(5, dtype=torch.float64), torch.zeros(1, dtype=torch.int32)
    totals = []
    for order in (0, 1, 2, 3):
        total = torch.full((1,), torch.nan, dtype=torch.float64)
        library.call("sum", values, 1000, 5, partials, counter, total, order)
        assert int(counter) == 0
        totals.append(float(total))
    assert totals == [totals[0]] * 4
    assert totals[0] == pytest.approx(float(values.double().sum()), abs=1e-12)


def reversed_by(library, order, has_barrier=1, shared=256):
    values = torch.arange(64.0)
    library.call("reverse", values, 64, shared, has_barrier, order)
    return values


@pytest.mark.parametrize("order", [0, 1, 5])
def test_shared_memory_is_exchanged_at_a_barrier(library, order):
    assert torch.equal(reversed_by(library, order), torch.arange(64.0).flip(0))


def test_a_missing_barrier_changes_the_result_with_the_order(library):
    results = [reversed_by(library, order, has_barrier=0) for order in (0, 1)]
    assert any(result.isnan().any() for result in results)
    assert not torch.equal(results[0].nan_to_num(), results[1].nan_to_num())


def test_divergence_is_an_error_that_names_the_threads(library):
    with pytest.raises(RuntimeError, match="thread 0 waits at __syncthreads on line.*thread 7 has"):
        library.call("divergent")
    with pytest.raises(RuntimeError, match="waits in a warp exchange"):
        library.call("half_warp", torch.empty(32))


def test_a_write_behind_the_shared_memory_is_an_error(library):
    with pytest.raises(RuntimeError, match="behind the dynamic shared memory"):
        reversed_by(library, 0, shared=252)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_16_bit_floats_are_widened_exactly(library, dtype):
    values = torch.cat([torch.randn(60) * 1e3, torch.tensor([0.0, torch.inf, 1e-5, 6e-8])])
    narrow, wide = values.to(dtype), torch.empty(64)
    library.call("widen", narrow, wide, 64, dtype == torch.float16)
    assert torch.equal(wide, narrow.float())
