"""Laws of the orthogonality loss that hold for every input, on every backend."""

from functools import partial

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import mflag.ops.orthogonality
from mflag.ops import orthogonality_loss
from tests.oracles.orthogonality import normalise, value_and_gradient
from tests.properties.cases import (
    NORMS,
    backends_of,
    derivatives,
    dtypes,
    formulas,
    is_near,
    normal,
    property_settings,
    seeds,
    shapes,
    term_sizes,
    wide_shapes,
)

BACKENDS = backends_of(
    lambda name: orthogonality_loss(torch.ones(2, 3), offdiag_weight=1.0, backend=name)
)
on_every_backend = pytest.mark.parametrize("backend", BACKENDS)


def run(z, formula, backend):
    return derivatives(partial(orthogonality_loss, backend=backend, **formula), z)


def assert_near(found, expected, z, formula):
    """Two runs of (loss, gradient), up to the rounding of what they add up."""
    value_size, gradient_size = term_sizes(z, formula)
    assert is_near(found[0], expected[0], value_size, z.dtype)
    assert is_near(found[1], expected[1], gradient_size, z.dtype)


@on_every_backend
@property_settings
@given(shapes, formulas(), dtypes, seeds)
def test_value_and_gradient_are_those_of_the_full_matrix(backend, shape, formula, dtype, seed):
    """With shapes on both sides of B = N: the dual is the primal."""
    z = normal(shape, seed, dtype)
    expected = value_and_gradient(z.double(), **formula)
    assert_near(run(z, formula, backend), expected, z, formula)


@on_every_backend
@property_settings
@given(st.integers(2, 70), formulas(), seeds)
def test_dual_and_primal_agree_at_the_boundary(backend, n, formula, seed):
    """A zero row leaves C·s alone and moves B = N − 1 to B = N, where the primal runs."""
    formula |= {"scale": formula["scale"] or 2.0, "norm": "none"}
    z = normal((n - 1, n), seed, torch.float32)
    longer = torch.cat([z, torch.zeros(1, n)])
    value, gradient = run(longer, formula, None)
    assert_near(run(z, formula, backend), (value, gradient[:-1]), z, formula)
    assert gradient[-1].abs().max() == 0


@on_every_backend
@property_settings
@given(shapes, formulas(), dtypes, seeds)
def test_permuted_rows_permute_the_gradient(backend, shape, formula, dtype, seed):
    z = normal(shape, seed, dtype)
    order = normal(shape[:1], seed + 1).argsort()
    value, gradient = run(z, formula, backend)
    assert_near(run(z[order], formula, backend), (value, gradient[order]), z, formula)


@on_every_backend
@property_settings
@given(shapes, formulas(), dtypes, seeds)
def test_permuted_columns_permute_the_gradient(backend, shape, formula, dtype, seed):
    z = normal(shape, seed, dtype)
    order = normal(shape[1:], seed + 1).argsort()
    value, gradient = run(z, formula, backend)
    assert_near(run(z[:, order], formula, backend), (value, gradient[:, order]), z, formula)


@on_every_backend
@property_settings
@given(shapes, formulas(("sample",)), dtypes, seeds, st.integers(-9, 9))
def test_sample_does_not_see_the_size_of_a_row(backend, shape, formula, dtype, seed, power):
    z = normal(shape, seed, dtype)
    sizes = torch.ones(shape[0], 1, dtype=dtype)
    sizes[0] = 2.0**power
    value, gradient = run(z, formula, backend)
    scaled_value, scaled_gradient = run(z * sizes, formula, backend)
    assert_near((scaled_value, scaled_gradient * sizes), (value, gradient), z, formula)


@on_every_backend
@property_settings
@given(shapes, formulas(("feature",)), dtypes, seeds, st.integers(-9, 9))
def test_feature_does_not_see_the_size_of_a_column(backend, shape, formula, dtype, seed, power):
    z = normal(shape, seed, dtype)
    sizes = torch.ones(shape[1], dtype=dtype)
    sizes[0] = 2.0**power
    value, gradient = run(z, formula, backend)
    scaled_value, scaled_gradient = run(z * sizes, formula, backend)
    assert_near((scaled_value, scaled_gradient * sizes), (value, gradient), z, formula)


@on_every_backend
@property_settings
@given(shapes, formulas(("standardize",)), seeds, st.floats(-4, 4), st.floats(0.5, 8))
def test_standardize_does_not_see_shift_and_size_but_for_epsilon(
    backend, shape, formula, seed, shift, size
):
    """x moves by a share of at most 1e-5/2·|1 − 1/size²|/var: L and its gradient by four of it."""
    z = normal(shape, seed, torch.float32)
    variance = z.var(0, correction=0).min().item()
    assume(variance > 1e-2)
    value, gradient = run(z, formula, backend)
    moved = (z.double() * size + shift).float()
    moved_value, moved_gradient = run(moved, formula, backend)
    share = 4 * 1e-5 / variance * abs(1 - size**-2)
    value_size, gradient_size = term_sizes(z, formula)
    rounding = 2e-6 * (1 + abs(shift) / size)
    assert abs(moved_value - value) <= (rounding + share) * value_size
    assert (moved_gradient * size - gradient).norm() <= (rounding + share) * gradient_size


def rotated(z, seed):
    Q, _ = torch.linalg.qr(normal((z.shape[1], z.shape[1]), seed))
    return (z.double() @ Q).to(z.dtype), Q.to(z.dtype)


@on_every_backend
@property_settings
@given(shapes, formulas(("none", "center", "sample")), seeds)
def test_with_equal_weights_a_rotation_turns_the_gradient(backend, shape, formula, seed):
    formula |= {"offdiag_weight": 1.0, "diagonal_weight": 1.0}
    z = normal(shape, seed, torch.float32)
    turned, Q = rotated(z, seed + 1)
    value, gradient = run(z, formula, backend)
    assert_near(run(turned, formula, backend), (value, gradient @ Q), z, formula)


@on_every_backend
@property_settings
@given(wide_shapes, seeds, st.sampled_from([0.0, 0.0051, 0.5, 1.7]))
def test_with_other_weights_a_rotation_changes_the_loss(backend, shape, seed, λ):
    """L = a[Σd²(1 − λ) + what no rotation changes], and Σd² is not the same for all bases."""
    formula = {"norm": "none", "scale": 1.0, "offdiag_weight": λ, "factor": 1.0}
    z = normal(shape, seed, torch.float32)
    turned, _ = rotated(z, seed + 1)
    squares = [x.double().square().sum(0).square().sum() for x in (z, turned)]
    expected = (1 - λ) * (squares[1] - squares[0])
    assume(abs(expected) > 1e-3 * squares[0])
    change = run(turned, formula, backend)[0] - run(z, formula, backend)[0]
    assert change.item() == pytest.approx(expected.item(), rel=1e-2)


@on_every_backend
@property_settings
@given(shapes, formulas(), dtypes, seeds)
def test_the_loss_is_never_negative(backend, shape, formula, dtype, seed):
    assert run(normal(shape, seed, dtype), formula, backend)[0] >= 0


@on_every_backend
@property_settings
@given(wide_shapes, formulas(), dtypes, seeds)
def test_fewer_rows_than_columns_leave_a_loss(backend, shape, formula, dtype, seed):
    """λ = δ = 1: L ≥ a(N − B)t², as C has rank B at most."""
    formula |= {"offdiag_weight": 1.0, "diagonal_weight": 1.0}
    rows, columns = shape
    least = formula["factor"] * (columns - rows) * formula["target"] ** 2
    assert run(normal(shape, seed, dtype), formula, backend)[0] >= least * (1 - 2.4e-7)


@on_every_backend
@property_settings
@given(shapes, formulas(("sample",)), dtypes, seeds)
def test_sample_gives_no_gradient_along_a_row(backend, shape, formula, dtype, seed):
    z = normal(shape, seed, dtype)
    _, gradient = run(z, formula, backend)
    along = (normalise(z, "sample", 1e-12) * gradient).sum(1)
    assert is_near(along, torch.zeros_like(along), term_sizes(z, formula)[1], dtype)


@on_every_backend
@property_settings
@given(shapes, formulas(("feature", "standardize", "center")), dtypes, seeds)
def test_column_norms_give_no_gradient_along_what_they_remove(backend, shape, formula, dtype, seed):
    z = normal(shape, seed, dtype)
    _, gradient = run(z, formula, backend)
    removed = z if formula["norm"] == "feature" else torch.ones_like(z)
    along = (removed * gradient).sum(0)
    size = term_sizes(z, formula)[1] * max(shape[0] ** 0.5, z.norm().item())
    assert is_near(along, torch.zeros_like(along), size, dtype)


@on_every_backend
@property_settings
@given(shapes, formulas(), dtypes, seeds, st.integers(-6, 6))
def test_it_is_linear_in_the_factor(backend, shape, formula, dtype, seed, power):
    z = normal(shape, seed, dtype)
    value, gradient = run(z, formula, backend)
    scaled = run(z, formula | {"factor": formula["factor"] * 2.0**power}, backend)
    assert_near([x * 2.0**-power for x in scaled], (value, gradient), z, formula)


STRIDES = {
    "transposed": lambda z: z.T.contiguous().T,
    "every other column": lambda z: torch.stack([z, z - 1], 2).flatten(1)[:, ::2],
    "every other row": lambda z: torch.stack([z, z - 1], 1).flatten(0, 1)[::2],
    "one row for all": lambda z: z[:1].expand(len(z), -1),
    "one column for all": lambda z: z[:, :1].expand(-1, z.shape[1]),
    "one value for all": lambda z: z[:1, :1].expand(z.shape),
    "channels last": lambda z: (
        z[:, :, None, None].contiguous(memory_format=torch.channels_last).flatten(1)
    ),
    "columns of channels last": lambda z: torch.stack([z, z + 1], 2)[..., None].contiguous(
        memory_format=torch.channels_last
    )[:, :, 0, 0],
    "not aligned": lambda z: torch.cat([z.new_zeros(1), z.flatten()])[1:].view(z.shape),
}


@on_every_backend
@pytest.mark.parametrize("stride", STRIDES)
@property_settings
@given(shapes, formulas(), dtypes, seeds)
def test_strides_do_not_matter(backend, stride, shape, formula, dtype, seed):
    z = STRIDES[stride](normal(shape, seed, dtype))
    expected = run(z.contiguous(), formula, backend)
    assert_near(run(z, formula, backend), expected, z, formula)


def test_every_norm_is_drawn():
    assert NORMS == mflag.ops.orthogonality.NORMS
