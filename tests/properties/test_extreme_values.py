"""No loss answers a finite number that is wrong: zeros, subnormals, huge, NaN and infinite values.

Compared with float64 of the same input. Where the same formula in plain PyTorch stays finite in
float32, so does the op; elsewhere it may overflow, to infinity or NaN.
"""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mflag.ops import alignment_loss, barlow_twins_loss, orthogonality_loss
from tests.oracles.alignment import alignment
from tests.oracles.barlow_twins import barlow_twins
from tests.oracles.orthogonality import orthogonality
from tests.properties.cases import (
    backends_of,
    derivatives,
    formulas,
    normal,
    property_settings,
    seeds,
)

on_every_backend = pytest.mark.parametrize(
    "backend",
    backends_of(
        lambda name: orthogonality_loss(torch.ones(2, 3), offdiag_weight=1.0, backend=name)
    ),
)
ALIGNING = backends_of(lambda name: alignment_loss(*[torch.ones(2, 3)] * 2, backend=name))
COMPARING = backends_of(lambda name: barlow_twins_loss(*[torch.ones(2, 3)] * 2, backend=name))
shapes = st.sampled_from([(2, 3), (3, 2), (4, 9), (9, 4), (5, 40), (40, 5)])
SIZES = [0.0, 1e-45, 1e-40, 1e-30, 1e-19, 1e-12, 1.0, 1e6, 1e12, 1e18]
sizes = st.sampled_from(SIZES)


@st.composite
def mixed(draw):
    """Normal values whose rows and columns have very different sizes, some of them zero."""
    rows, columns = draw(shapes)
    z = normal((rows, columns), draw(seeds))
    by_row = torch.tensor(draw(st.lists(sizes, min_size=rows, max_size=rows)), dtype=torch.float64)
    z = z * by_row[:, None]
    if draw(st.booleans()):
        z[:, draw(st.integers(0, columns - 1))] = draw(sizes)  # a constant feature
    return z.float()


def is_right(found, exact, eager, tolerance=1e-5):
    """Near the float64 value; or not finite where plain float32 is not finite either."""
    exact = exact.float().double()  # beyond float32's range: infinity
    if not found.isfinite().all():
        return not (eager.isfinite().all() and exact.isfinite().all())
    if not exact.isfinite().all():
        return False
    size = exact.norm().clamp(min=1e-37)
    eager_error = (eager.double() - exact).norm() if eager.isfinite().all() else 0.0
    return bool((found.double() - exact).norm() <= max(2 * eager_error, tolerance * size))


@on_every_backend
@property_settings
@given(mixed(), formulas())
def test_the_orthogonality_loss_of_mixed_sizes_is_right_or_not_finite(backend, z, formula):
    found = derivatives(partial(orthogonality_loss, backend=backend, **formula), z)
    exact = derivatives(partial(orthogonality, **formula), z.double())
    eager = derivatives(partial(orthogonality, **formula), z)
    assert is_right(found[0], exact[0], eager[0])


@on_every_backend
@property_settings
@given(shapes, seeds, sizes, formulas())
def test_value_and_gradient_of_one_size_are_right_or_not_finite(
    backend, shape, seed, size, formula
):
    z = (normal(shape, seed) * size).float()
    found = derivatives(partial(orthogonality_loss, backend=backend, **formula), z)
    exact = derivatives(partial(orthogonality, **formula), z.double())
    eager = derivatives(partial(orthogonality, **formula), z)
    assert is_right(found[0], exact[0], eager[0])
    full = 1e-7 * formula["factor"] / max(z.abs().max().item(), 1e-12)
    assert is_right(found[1], exact[1], eager[1]) or bool(
        (found[1].double() - exact[1]).norm() <= full * max(found[0].item(), shape[1])
    )


@pytest.mark.parametrize("backend", ALIGNING)
@property_settings
@given(shapes, seeds, sizes, sizes)
def test_the_alignment_loss_of_any_size_is_right_or_not_finite(backend, shape, seed, a, t):
    z = (normal(shape, seed) * a).float(), (normal(shape, seed + 1) * t).float()
    found = derivatives(partial(alignment_loss, backend=backend), *z)
    exact = derivatives(alignment, *(x.double() for x in z))
    eager = derivatives(alignment, *z)
    assert all(is_right(*three) for three in zip(found, exact, eager, strict=True))


@pytest.mark.parametrize("backend", COMPARING)
@property_settings
@given(shapes, seeds, st.sampled_from(SIZES[:-1]), st.sampled_from(SIZES[:-1]))
def test_the_loss_of_two_views_of_any_size_is_right_or_not_finite(backend, shape, seed, a, b):
    z = (normal(shape, seed) * a).float(), (normal(shape, seed + 1) * b).float()
    found = derivatives(partial(barlow_twins_loss, backend=backend), *z)
    exact = derivatives(barlow_twins, *(x.double() for x in z))
    eager = derivatives(barlow_twins, *z)
    assert is_right(found[0], exact[0], eager[0])


BAD = st.sampled_from([torch.nan, torch.inf, -torch.inf])


@on_every_backend
@property_settings
@given(shapes, seeds, formulas(), BAD)
def test_a_bad_value_never_gives_a_finite_loss(backend, shape, seed, formula, bad):
    z = normal(shape, seed, torch.float32)
    z[seed % shape[0], seed % shape[1]] = bad
    if formula["diagonal_weight"] == formula["offdiag_weight"] == 0:
        formula["diagonal_weight"] = 1.0  # 0·NaN may be left out
    value, gradient = derivatives(partial(orthogonality_loss, backend=backend, **formula), z)
    assert not value.isfinite() and not gradient.isfinite().all()


@pytest.mark.parametrize("backend", ALIGNING)
@property_settings
@given(shapes, seeds, BAD, st.booleans())
def test_a_bad_value_never_gives_a_finite_alignment(backend, shape, seed, bad, is_text):
    z = [normal(shape, seed, torch.float32), normal(shape, seed + 1, torch.float32)]
    z[is_text][seed % shape[0], seed % shape[1]] = bad
    assert not derivatives(partial(alignment_loss, backend=backend), *z)[0].isfinite()


@pytest.mark.parametrize("backend", COMPARING)
@property_settings
@given(shapes, seeds, BAD, st.booleans())
def test_a_bad_value_never_gives_a_finite_loss_of_views(backend, shape, seed, bad, is_second):
    z = [normal(shape, seed, torch.float32), normal(shape, seed + 1, torch.float32)]
    z[is_second][seed % shape[0], seed % shape[1]] = bad
    assert not derivatives(partial(barlow_twins_loss, backend=backend), *z)[0].isfinite()
