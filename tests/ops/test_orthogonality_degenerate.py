import pytest
import torch

from mflag import backends
from mflag.errors import InputError
from mflag.ops import orthogonality_loss
from tests.oracles.orthogonality import value_and_gradient

NORMS = ("none", "center", "sample", "feature", "standardize")
NATIVE = [name for name in ("reference", "cpu") if backends()[name] is True]
SHAPES = [(4, 11), (11, 4)]


def loss_and_gradient(z, backend, norm):
    z = z.clone().requires_grad_()
    loss = orthogonality_loss(z, norm=norm, offdiag_weight=0.3, backend=backend)
    return loss.detach(), torch.autograd.grad(loss, z)[0]


def compare_with_oracle(z, backend, norm):
    loss, gradient = loss_and_gradient(z, backend, norm)
    value, expected = value_and_gradient(z, norm=norm, offdiag_weight=0.3)
    torch.testing.assert_close(loss, value, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_zero_rows_and_columns(backend, norm, shape):
    torch.manual_seed(0)
    z = torch.randn(shape, dtype=torch.float64)
    z[1], z[:, 2] = 0, 0
    compare_with_oracle(z, backend, norm)


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("norm", ["sample", "feature"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("λ", [0.3, 1.0])
def test_norms_below_eps_are_divided_by_eps(backend, norm, shape, λ):
    torch.manual_seed(0)
    z = torch.randn(shape, dtype=torch.float64)
    z[1], z[:, 2] = z[1] * 1e-13, z[:, 2] * 1e-13
    value, expected = value_and_gradient(z, norm=norm, offdiag_weight=λ)
    leaf = z.clone().requires_grad_()
    loss = orthogonality_loss(leaf, norm=norm, offdiag_weight=λ, backend=backend)
    (gradient,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(loss.detach(), value, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_constant_column_gets_no_gradient(backend, shape):
    torch.manual_seed(0)
    z = torch.randn(shape, dtype=torch.float64)
    z[:, 2] = 3
    _, gradient = loss_and_gradient(z, backend, "standardize")
    assert gradient[:, 2].abs().max() == 0


@pytest.mark.parametrize("backend", NATIVE)
def test_one_row_standardizes_to_zero(backend):
    loss, gradient = loss_and_gradient(torch.tensor([[1.0, 2.0, 3.0]]), backend, "standardize")
    assert loss == 0.5 * 3 and torch.equal(gradient, torch.zeros(1, 3))


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_reach_the_loss_and_the_gradient(backend, norm, shape, bad):
    z = torch.ones(shape)
    z[1, 2] = bad
    loss, gradient = loss_and_gradient(z, backend, norm)
    assert not loss.isfinite() and not gradient.isfinite().all()


@pytest.mark.parametrize("backend", NATIVE)
def test_infinity_in_the_only_row_reaches_the_loss(backend):
    z = torch.tensor([[1.0, float("inf"), 2.0]])
    loss = orthogonality_loss(z, norm="sample", scale=1.0, offdiag_weight=1.0, backend=backend)
    assert not loss.isfinite()


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("size", [1e20, 1e35, 1e-11, 1e-25])
@pytest.mark.parametrize("λ", [0.3, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_size_of_unit_rows_does_not_matter(backend, size, λ, shape):
    torch.manual_seed(0)
    z = torch.randn(shape)
    z[0] *= size
    z[3] *= size
    formula = {"norm": "sample", "offdiag_weight": λ, "eps": 1e-60}
    value, expected = value_and_gradient(z.double(), **formula)
    leaf = z.clone().requires_grad_()
    loss = orthogonality_loss(leaf, backend=backend, **formula)
    (gradient,) = torch.autograd.grad(loss, leaf)
    assert loss.item() == pytest.approx(value.item(), rel=2e-7)
    error = (gradient - expected).norm(dim=1) / expected.norm(dim=1)
    assert error.max() <= 2e-6


@pytest.mark.parametrize(
    "z, message",
    [
        (torch.ones(0, 4), r"shape \(0, 4\)"),
        (torch.ones(4, 0), r"shape \(4, 0\)"),
        (torch.ones(4), r"shape \(4,\)"),
        (torch.ones(2, 3, 4), r"shape \(2, 3, 4\)"),
        (torch.ones(2, 3, dtype=torch.int64), "torch.int64"),
        (torch.ones(2, 3, dtype=torch.complex64), "torch.complex64"),
    ],
    ids=["B0", "N0", "1d", "3d", "int", "complex"],
)
def test_input_that_is_no_latent_is_refused(z, message):
    with pytest.raises(InputError, match=message):
        orthogonality_loss(z)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"norm": "rows"}, "norm is 'rows'; choose one of none, center"),
        ({"scale": 0.0}, "scale is 0.0"),
        ({"scale": "rows"}, "scale is 'rows'"),
        ({"offdiag_weight": -1.0}, "offdiag_weight is -1.0"),
        ({"factor": float("nan")}, "factor is nan"),
        ({"target": float("inf")}, "target is inf"),
        ({"eps": -1.0}, "eps is -1.0"),
        ({"precision": "low"}, "precision is 'low'"),
        ({"backend": "tpu"}, "backend 'tpu' is unknown"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_parameter_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        orthogonality_loss(torch.ones(2, 3), **wrong)


def test_a_forced_backend_that_cannot_run_says_why(monkeypatch):
    monkeypatch.setattr("mflag.ops.backend.backends", lambda: {"reference": True, "cuda": "no GPU"})
    with pytest.raises(InputError, match="backend 'cuda' cannot run here: no GPU"):
        orthogonality_loss(torch.ones(2, 3), backend="cuda")


def test_second_derivative_is_finite_at_a_zero_row():
    z = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    loss = orthogonality_loss(z + torch.tensor([[0.0], [1.0]]), norm="sample")
    (gradient,) = torch.autograd.grad(loss, z, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), z)
    assert second.isfinite().all()
