"""Laws of the loss of two views that hold for every input, on every backend."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mflag.ops import barlow_twins_loss, orthogonality_loss
from tests.oracles.barlow_twins import barlow_twins
from tests.properties.cases import (
    backends_of,
    derivatives,
    dtypes,
    is_near,
    normal,
    property_settings,
    seeds,
    shapes,
    term_sizes,
)

on_every_backend = pytest.mark.parametrize(
    "backend", backends_of(lambda name: barlow_twins_loss(*[torch.ones(2, 3)] * 2, backend=name))
)
weights = st.sampled_from([5e-3, 1.0, 0.0, 1.7])


def views(shape, seed, dtype):
    return normal(shape, seed, dtype), normal(shape, seed + 1, dtype)


def run(z, λ, backend):
    loss = partial(barlow_twins_loss, offdiag_weight=λ, backend=backend)
    return derivatives(loss, *z)


def assert_near(found, expected, λ, *inputs):
    formula = {
        "norm": "standardize", "scale": None, "target": 1.0, "offdiag_weight": λ, "factor": 1.0,
        "diagonal_weight": 1.0,
    }  # fmt: skip
    sizes = [term_sizes(z, formula) for z in inputs]
    assert is_near(found[0], expected[0], max(value for value, _ in sizes), inputs[0].dtype)
    for mine, theirs in zip(found[1:], expected[1:], strict=True):
        assert is_near(mine, theirs, max(size for _, size in sizes), inputs[0].dtype)


@on_every_backend
@property_settings
@given(shapes, dtypes, seeds, weights)
def test_value_and_gradients_are_those_of_the_full_matrix(backend, shape, dtype, seed, λ):
    z = views(shape, seed, dtype)
    expected = derivatives(partial(barlow_twins, offdiag_weight=λ), *(x.double() for x in z))
    assert_near(run(z, λ, backend), expected, λ, *z)


@on_every_backend
@property_settings
@given(shapes, dtypes, seeds, weights)
def test_the_two_views_may_change_places(backend, shape, dtype, seed, λ):
    z_a, z_b = views(shape, seed, dtype)
    value, gradient_a, gradient_b = run((z_a, z_b), λ, backend)
    assert_near(run((z_b, z_a), λ, backend), (value, gradient_b, gradient_a), λ, z_a, z_b)


@on_every_backend
@property_settings
@given(shapes, dtypes, seeds, weights)
def test_equal_views_give_the_orthogonality_loss(backend, shape, dtype, seed, λ):
    """And each view half of its gradient."""
    z = normal(shape, seed, dtype)
    one = partial(
        orthogonality_loss, norm="standardize", offdiag_weight=λ, factor=1.0, backend="reference"
    )
    value, gradient = derivatives(one, z)
    assert_near(run((z, z.clone()), λ, backend), (value, gradient / 2, gradient / 2), λ, z)


@on_every_backend
@pytest.mark.parametrize("dim", [0, 1], ids=["rows", "columns"])
@property_settings
@given(shapes, dtypes, seeds, weights)
def test_a_permutation_of_both_views_permutes_the_gradients(backend, dim, shape, dtype, seed, λ):
    z_a, z_b = views(shape, seed, dtype)
    order = normal(shape[dim : dim + 1], seed + 2).argsort()
    value, *gradients = run((z_a, z_b), λ, backend)
    permuted = run([z.index_select(dim, order) for z in (z_a, z_b)], λ, backend)
    expected = (value, *(g.index_select(dim, order) for g in gradients))
    assert_near(permuted, expected, λ, z_a, z_b)


@on_every_backend
@property_settings
@given(shapes, dtypes, seeds, weights)
def test_it_is_never_negative(backend, shape, dtype, seed, λ):
    assert run(views(shape, seed, dtype), λ, backend)[0] >= 0


@on_every_backend
@property_settings
@given(shapes, dtypes, seeds, weights)
def test_shifts_of_a_column_get_no_gradient(backend, shape, dtype, seed, λ):
    z_a, z_b = views(shape, seed, dtype)
    zeros = [torch.zeros(shape[1], dtype=dtype)] * 2
    value, *gradients = run((z_a, z_b), λ, backend)
    assert_near((value, *(g.sum(0) for g in gradients)), (value, *zeros), λ, z_a, z_b)


STRIDES = {
    "transposed": lambda z: z.T.contiguous().T,
    "every other column": lambda z: torch.stack([z, z - 1], 2).flatten(1)[:, ::2],
    "one row for all": lambda z: z[:1].expand(len(z), -1),
    "one value for all": lambda z: z[:1, :1].expand(z.shape),
}


@on_every_backend
@pytest.mark.parametrize("stride", STRIDES)
@property_settings
@given(shapes, dtypes, seeds, weights)
def test_strides_do_not_matter(backend, stride, shape, dtype, seed, λ):
    z = [STRIDES[stride](view) for view in views(shape, seed, dtype)]
    expected = run([x.contiguous() for x in z], λ, backend)
    assert_near(run(z, λ, backend), expected, λ, *z)
