"""65,536 rows, and as many columns: indices and sums of the longest batches."""

from functools import partial

import pytest
import torch

from mflag import backends
from mflag.ops import alignment_loss, barlow_twins_loss, lars_step_, orthogonality_loss
from tests.oracles.alignment import alignment
from tests.oracles.orthogonality import value_and_gradient

pytestmark = pytest.mark.slow
NATIVE = [name for name in ("reference", "cpu") if backends()[name] is True]
N = 65_536


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def value_and_gradients(loss, *z):
    leaves = [x.requires_grad_() for x in z]
    value = loss(*leaves)
    return value.item(), *torch.autograd.grad(value, leaves)


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("norm", ["none", "sample", "feature", "standardize"])
def test_many_rows(norm, backend):
    z = normal(N, 64)
    formula = {"norm": norm, "offdiag_weight": 0.3}
    value, gradient = value_and_gradients(
        partial(orthogonality_loss, backend=backend, **formula), z
    )
    expected, exact = value_and_gradient(z.detach().double(), **formula)
    assert value == pytest.approx(expected.item(), rel=1e-5)
    assert (gradient.double() - exact).norm() <= 1e-4 * exact.norm()


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("norm", ["none", "sample", "feature", "standardize"])
def test_many_columns(norm, backend):
    """The oracle would need a matrix of 34 GB: here its terms Σd², Σd and ‖K‖², in float64."""
    z = normal(3, N)
    x = z.double()
    if norm in ("sample", "feature"):
        x = x / x.norm(dim=1 if norm == "sample" else 0, keepdim=True)
    if norm == "standardize":
        x = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()
    d = x.square().sum(0) / 3
    K = x @ x.T / 3
    expected = 0.5 * ((d - 1).square().sum() + 0.3 * (K.square().sum() - d.square().sum()))
    loss = partial(orthogonality_loss, norm=norm, offdiag_weight=0.3, backend=backend)
    value, gradient = value_and_gradients(loss, z)
    assert value == pytest.approx(expected.item(), rel=1e-6)
    # The gradient, by a finite difference along itself.
    direction = gradient.double() / gradient.double().norm()
    size = 1e-5 if norm == "standardize" else 1e-2  # the others: small slopes of a large value
    ahead, behind = (
        orthogonality_loss(
            z.detach().double() + sign * size * direction,
            norm=norm, offdiag_weight=0.3, backend="reference",
        )
        for sign in (1, -1)
    )  # fmt: skip
    slope = (ahead - behind) / (2 * size)
    assert slope.item() == pytest.approx(gradient.double().norm().item(), rel=1e-3)


def test_many_pairs_of_a_table():
    z_a, table = normal(N, 32), normal(2 * N, 32)
    index = torch.randperm(2 * N, generator=torch.Generator().manual_seed(1))[:N]
    value, gradient = value_and_gradients(partial(alignment_loss, z_t=table, index=index), z_a)
    exact_a = z_a.detach().double().requires_grad_()
    expected = alignment(exact_a, table[index].double())
    (exact,) = torch.autograd.grad(expected, exact_a)
    assert value == pytest.approx(expected.item(), rel=1e-6)
    assert (gradient.double() - exact).norm() <= 1e-5 * exact.norm()


def test_many_rows_of_two_views():
    z = normal(N, 64)
    value, *_ = value_and_gradients(barlow_twins_loss, z, z.detach() + normal(N, 64).flip(0))
    one = orthogonality_loss(z.detach(), offdiag_weight=5e-3, factor=1.0)
    assert 0 < one < value < 64


@pytest.mark.parametrize("backend", NATIVE)
def test_a_weight_of_many_rows(backend):
    w, g, m = normal(N, 64), normal(N, 64) / 2, torch.zeros(N, 64)
    expected = w.double() - 0.1 * 1e-3 * w.double().norm() / g.double().norm() * g.double()
    lars_step_([w], [g], [m], lr=0.1, eps=0.0, adapt_without_decay=True, backend=backend)
    assert (w.double() - expected).norm() <= 1e-7 * expected.norm()
