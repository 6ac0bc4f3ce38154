"""Laws of the alignment loss that hold for every input, on every backend."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mflag.ops import alignment_loss
from tests.oracles.alignment import alignment
from tests.properties.cases import (
    backends_of,
    derivatives,
    dtypes,
    is_near,
    normal,
    property_settings,
    seeds,
    shapes,
)

on_every_backend = pytest.mark.parametrize(
    "backend", backends_of(lambda name: alignment_loss(*[torch.ones(2, 3)] * 2, backend=name))
)
factors = st.sampled_from([1.0, 2.0, 0.3])


def run(z_a, z_t, backend, factor=1.0):
    return derivatives(partial(alignment_loss, factor=factor, backend=backend), z_a, z_t)


def assert_near(found, expected, *inputs):
    assert is_near(found[0], expected[0], 4.0, inputs[0].dtype)
    reach = 1 / min(z.norm(dim=1).min().item() for z in inputs)
    for mine, theirs in zip(found[1:], expected[1:], strict=True):
        assert is_near(mine, theirs, 4 * max(1.0, reach), inputs[0].dtype)


@on_every_backend
@property_settings
@given(shapes, dtypes, seeds, factors)
def test_value_and_gradients_are_those_of_the_formula(backend, shape, dtype, seed, factor):
    z = normal(shape, seed, dtype), normal(shape, seed + 1, dtype)
    expected = derivatives(partial(alignment, factor=factor), *(x.double() for x in z))
    assert_near(run(*z, backend, factor), expected, *z)


@on_every_backend
@property_settings
@given(shapes, dtypes, seeds, st.integers(-9, 9), st.integers(-9, 9))
def test_the_size_of_a_row_does_not_matter(backend, shape, dtype, seed, power_a, power_t):
    z_a, z_t = normal(shape, seed, dtype), normal(shape, seed + 1, dtype)
    sizes = [torch.ones(shape[0], 1, dtype=dtype) for _ in range(2)]
    sizes[0][0], sizes[1][-1] = 2.0**power_a, 2.0**power_t
    value, *gradients = run(z_a * sizes[0], z_t * sizes[1], backend)
    unscaled = [g * size for g, size in zip(gradients, sizes, strict=True)]
    assert_near((value, *unscaled), run(z_a, z_t, backend), z_a, z_t)


@on_every_backend
@property_settings
@given(shapes, dtypes, seeds, factors, st.sampled_from([1, -1, 0]))
def test_it_lies_between_0_and_4_factors(backend, shape, dtype, seed, factor, sign):
    """0 and 4 are reached, at equal and at opposite rows."""
    z_a = normal(shape, seed, dtype)
    z_t = sign * z_a if sign else normal(shape, seed + 1, dtype)
    value = run(z_a, z_t, backend, factor)[0].item()
    rounding = 4 * factor * torch.finfo(dtype).eps
    assert -rounding <= value <= 4 * factor + rounding
    if sign:
        assert value == pytest.approx(2 * factor * (1 - sign), abs=rounding)


@on_every_backend
@property_settings
@given(shapes, dtypes, seeds)
def test_permuted_pairs_permute_the_gradients(backend, shape, dtype, seed):
    z_a, z_t = normal(shape, seed, dtype), normal(shape, seed + 1, dtype)
    order = normal(shape[:1], seed + 2).argsort()
    value, *gradients = run(z_a, z_t, backend)
    permuted = run(z_a[order], z_t[order], backend)
    assert_near(permuted, (value, *(g[order] for g in gradients)), z_a, z_t)


@on_every_backend
@property_settings
@given(shapes, dtypes, seeds)
def test_the_two_sides_may_change_places(backend, shape, dtype, seed):
    z_a, z_t = normal(shape, seed, dtype), normal(shape, seed + 1, dtype)
    value, gradient_a, gradient_t = run(z_a, z_t, backend)
    assert_near(run(z_t, z_a, backend), (value, gradient_t, gradient_a), z_a, z_t)


@on_every_backend
@property_settings
@given(shapes, dtypes, seeds, st.integers(1, 20))
def test_rows_of_a_table_are_the_pairs(backend, shape, dtype, seed, rows):
    """Whatever the order of the table: it is permuted, and the index with it."""
    z_a, table = normal(shape, seed, dtype), normal((rows, shape[1]), seed + 1, dtype)
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(rows, shape[:1], generator=generator)
    order = torch.randperm(rows, generator=generator)
    value, gradient, _ = run(z_a, table[index], backend)
    for by, places in ((table, index), (table[order], order.argsort()[index])):
        loss = partial(alignment_loss, z_t=by, index=places, backend=backend)
        assert_near(derivatives(loss, z_a), (value, gradient), z_a, table)


STRIDES = {
    "transposed": lambda z: z.T.contiguous().T,
    "every other column": lambda z: torch.stack([z, z - 1], 2).flatten(1)[:, ::2],
    "one row for all": lambda z: z[:1].expand(len(z), -1),
    "one value for all": lambda z: z[:1, :1].expand(z.shape),
    "not aligned": lambda z: torch.cat([z.new_zeros(1), z.flatten()])[1:].view(z.shape),
}


@on_every_backend
@pytest.mark.parametrize("stride", STRIDES)
@property_settings
@given(shapes, dtypes, seeds)
def test_strides_do_not_matter(backend, stride, shape, dtype, seed):
    z = [STRIDES[stride](normal(shape, s, dtype)) for s in (seed, seed + 1)]
    expected = run(z[0].contiguous(), z[1].contiguous(), backend)
    assert_near(run(z[0], z[1], backend), expected, *z)
