"""The CUDA kernels of the Barlow Twins loss, run on the host by the launches of the CUDA op."""

from typing import NamedTuple

import pytest
import torch

from tests.native.on_host import compile_on_host
from tests.oracles.barlow_twins import value_and_gradients

DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
DUAL, PRIMAL = [(5, 37), (64, 65), (70, 230), (133, 150)], [(40, 33), (64, 64), (150, 140), (7, 1)]


class Result(NamedTuple):
    loss: torch.Tensor
    gradients: tuple[torch.Tensor, torch.Tensor] | tuple[None, None]
    launches: int
    products: int


@pytest.fixture(scope="module")
def library():
    return compile_on_host("barlow_twins.cpp", sanitize=True)


def views(rows, columns, *, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(rows, columns, generator=generator)
    noise = torch.randn(rows, columns, generator=generator)
    return z.to(dtype), (z + 0.3 * noise).to(dtype)


def run(library, z, λ=5e-3, *, order=0, need_grad=True):
    loss, counts = torch.full((), torch.nan), torch.zeros(2, dtype=torch.int64)
    gradients: tuple[torch.Tensor, torch.Tensor] | tuple[None, None] = (None, None)
    if need_grad:
        gradients = torch.full(z[0].shape, torch.nan), torch.full(z[0].shape, torch.nan)
    dtype = DTYPES[z[0].dtype]
    library.call("barlow_twins", *z, dtype, *z[0].shape, λ, loss, *gradients, order, counts)
    return Result(loss, gradients, *counts.tolist())


def check(result, z, λ=5e-3):
    value, *expected = value_and_gradients(*(view.double() for view in z), offdiag_weight=λ)
    rounded = 6e-8 * (z[0].shape[1] * value.item()) ** 0.5  # of x and y, in Σ (d_i − 1)²
    assert result.loss.item() == pytest.approx(value.item(), rel=2e-7, abs=rounded)
    for mine, exact in zip(result.gradients, expected, strict=True):
        assert (mine - exact).norm() <= 5e-7 * exact.norm() + 1e-8


@pytest.mark.parametrize("shape", DUAL + PRIMAL, ids=str)
@pytest.mark.parametrize("λ", [0.0, 5e-3, 1.0])
def test_ragged_shapes_equal_the_oracle(library, λ, shape):
    z = views(*shape)
    check(run(library, z, λ), z, λ)


@pytest.mark.parametrize("shape", [(20, 72), (70, 40)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_16_bit_input_is_computed_in_float32(library, dtype, shape):
    z = views(*shape, dtype=dtype)
    check(run(library, z), z)


@pytest.mark.parametrize("shape", [(133, 150), (70, 40)], ids=str)
def test_the_order_of_blocks_and_threads_does_not_change_a_bit(library, shape):
    first, *others = (run(library, views(*shape), order=order) for order in (0, 1, 7))
    for other in others:
        assert torch.equal(first.loss, other.loss)
        assert all(map(torch.equal, first.gradients, other.gradients))


@pytest.mark.parametrize(
    "shape, launches, products", [((70, 230), 3, 4), ((133, 150), 3, 8), ((70, 40), 3, 3)]
)
def test_launches_and_products_are_as_few_as_written(library, shape, launches, products):
    result = run(library, views(*shape))
    assert (result.launches, result.products) == (launches, products)


@pytest.mark.parametrize("shape", [(40, 80), (80, 40)], ids=str)
def test_the_value_alone_has_the_same_bits(library, shape):
    z = views(*shape)
    alone, both = run(library, z, need_grad=False), run(library, z)
    assert torch.equal(alone.loss, both.loss) and alone.launches < both.launches


@pytest.mark.parametrize("shape", [(40, 80), (80, 40)], ids=str)
def test_equal_views_and_columns_without_variance(library, shape):
    z = views(*shape)[0]
    z[:, 3] = 0
    check(run(library, (z, z)), (z, z))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("shape", [(6, 40), (40, 6)], ids=str)
def test_nan_and_infinity_reach_the_loss_and_both_gradients(library, shape, bad):
    z = views(*shape)
    z[0][2, 3] = bad
    result = run(library, z)
    assert not result.loss.isfinite()
    assert not any(gradient.isfinite().all() for gradient in result.gradients)
