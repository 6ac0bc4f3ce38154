"""The CUDA kernel of the alignment loss, run on the host, against the float64 oracle."""

import numpy as np
import pytest
import torch

from tests.native.on_host import compile_on_host
from tests.oracles.alignment import value_and_gradients

CASES = [
    ("float32", "float32", 4),
    ("float32", "float32", 1),
    ("float32", "float16", 4),
    ("float32", "float16", 1),
    ("bfloat16", "float16", 8),
    ("float16", "bfloat16", 1),
    ("float64", "float64", 2),
    ("float64", "float32", 1),
]
FLOAT32_FLOAT16 = ("float32", "float16")


@pytest.fixture(scope="module")
def library():
    return compile_on_host("alignment.cpp", sanitize=True)


def inputs(rows, columns, types, table_rows=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(rows, columns), (table_rows or rows, columns)]
    return [
        torch.randn(shape, dtype=torch.float64, generator=generator).to(getattr(torch, name))
        for shape, name in zip(shapes, types, strict=True)
    ]


def run(library, z_a, z_t, index=None, width=1, order=0, blocks=None, threads=64, wanted=(1, 1)):
    """Loss and gradients; ``blocks`` below the number of rows gives a block several of them."""
    rows, columns = z_a.shape
    dtype = torch.float64 if z_a.dtype == torch.float64 else torch.float32
    blocks = blocks or rows
    counter = torch.zeros(1, dtype=torch.int32)
    partials = torch.full((blocks,), torch.nan, dtype=torch.float64)
    loss = torch.full((), torch.nan, dtype=dtype)
    gradients = [torch.full((rows, columns), torch.nan, dtype=dtype) for _ in wanted]
    given = [
        gradient if is_wanted else None
        for gradient, is_wanted in zip(gradients, wanted, strict=True)
    ]
    tensors = [z_a, z_t, index, partials, counter, loss, *given]
    pointers = np.array([0 if t is None else t.data_ptr() for t in tensors], dtype=np.uint64)
    step = 0 if index is None else index.stride(0)
    sizes = np.array([rows, columns, z_t.shape[0], blocks, threads])
    strides = np.array([*z_a.stride(), *z_t.stride(), step])
    names = [str(t.dtype).removeprefix("torch.") for t in (z_a, z_t)]
    library.call("_".join([*names, str(width)]), sizes, strides, pointers, 2.0, order)
    assert int(counter) == 0
    return loss, *gradients


def check(results, z_a, z_t):
    exact = value_and_gradients(z_a.double(), z_t.double(), factor=2.0)
    floor = 1e-14 if z_a.dtype == torch.float64 else 1.2e-7
    for ours, expected in zip(results, exact, strict=True):
        assert (ours.double() - expected).norm() <= floor * expected.norm()


@pytest.mark.parametrize("name_a, name_t, width", CASES, ids=str)
@pytest.mark.parametrize("columns", [8, 776, 1600])
def test_every_pair_of_types_equals_the_oracle(library, name_a, name_t, width, columns):
    z_a, z_t = inputs(3, columns, (name_a, name_t))
    check(run(library, z_a, z_t, width=width), z_a, z_t)


@pytest.mark.parametrize("columns", [1, 5, 4097])
def test_ragged_rows_equal_the_oracle(library, columns):
    z_a, z_t = inputs(2, columns, FLOAT32_FLOAT16)
    z_a, z_t = z_a.abs() + 1, z_t if columns > 1 else -z_t.abs()
    results = run(library, z_a, z_t, threads=256)
    if columns > 1:
        return check(results, z_a, z_t)
    assert results[0] == 8  # opposite numbers: cos = −1, and no gradient is left
    assert max(float(gradient.abs().max()) for gradient in results[1:]) < 1e-15


def test_rows_of_the_table_are_gathered_and_may_repeat(library):
    z_a, table = inputs(4, 24, FLOAT32_FLOAT16, table_rows=9)
    rows = torch.tensor([8, 0, 3, 3])
    loss, gradient, _ = run(library, z_a, table, rows, width=4, wanted=(1, 0))
    exact, expected, _ = value_and_gradients(z_a.double(), table[rows].double(), factor=2.0)
    assert float(loss) == pytest.approx(float(exact), rel=1.2e-7)
    assert (gradient - expected).norm() <= 1.2e-7 * expected.norm()


def test_strides_of_all_inputs_are_followed(library):
    z_a, table = inputs(24, 4, FLOAT32_FLOAT16, table_rows=24)
    z_a, table, rows = z_a.T, table.T[1:], torch.tensor([0, 9, 1, 9, 2, 9, 1, 9])[::2]
    loss, gradient, _ = run(library, z_a, table, rows, wanted=(1, 0))
    exact, expected, _ = value_and_gradients(z_a.double(), table[rows].double(), factor=2.0)
    assert float(loss) == pytest.approx(float(exact), rel=1.2e-7)
    assert (gradient - expected).norm() <= 1.2e-7 * expected.norm()


def test_bits_do_not_depend_on_the_order_of_blocks_and_threads(library):
    z_a, z_t = inputs(7, 1100, FLOAT32_FLOAT16)
    first = run(library, z_a, z_t, width=4, blocks=3)
    for order in (1, 2, 3):
        again = run(library, z_a, z_t, width=4, blocks=3, order=order)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    check(first, z_a, z_t)


def test_a_zero_row_is_divided_by_epsilon(library):
    z_a, z_t = inputs(3, 8, ("float64", "float64"))
    z_a[1] = 0
    check(run(library, z_a, z_t, width=2), z_a, z_t)


def test_nan_reaches_the_loss_and_stays_in_its_row(library):
    z_a, z_t = inputs(3, 8, FLOAT32_FLOAT16)
    z_a[1, 2] = torch.nan
    loss, gradient, _ = run(library, z_a, z_t)
    assert loss.isnan() and gradient[1].isnan().all() and gradient[[0, 2]].isfinite().all()


def test_the_value_alone_writes_no_gradient(library):
    z_a, z_t = inputs(3, 2000, FLOAT32_FLOAT16)
    loss, *gradients = run(library, z_a, z_t, wanted=(0, 0))
    assert loss == run(library, z_a, z_t)[0]
    assert all(gradient.isnan().all() for gradient in gradients)


@pytest.mark.parametrize("wrong", [-1, 9])
def test_a_row_outside_of_the_table_stops_the_device(library, wrong):
    z_a, table = inputs(2, 8, FLOAT32_FLOAT16, table_rows=9)
    with pytest.raises(RuntimeError, match="index is outside of the table"):
        run(library, z_a, table, torch.tensor([8, wrong]))
