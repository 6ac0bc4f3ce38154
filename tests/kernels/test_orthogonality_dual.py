from typing import Any

import pytest
import torch

from mflag import backends
from mflag.errors import InputError
from mflag.ops import orthogonality_loss
from tests.oracles.orthogonality import value_and_gradient

NEEDS_TRITON = pytest.mark.skipif(
    backends()["triton"] is not True, reason=f"triton: {backends()['triton']}"
)
FORMULAS: dict[str, dict[str, Any]] = {
    "paper": {"norm": "sample", "scale": 1.0, "offdiag_weight": 1.0, "factor": 1.0},
    "authors": {"norm": "none", "scale": None, "offdiag_weight": 0.0051, "factor": 0.5},
    "none-lambda1": {"norm": "none", "scale": 3.0, "offdiag_weight": 1.0, "target": 0.4},
    "feature": {"norm": "feature", "scale": 1.0, "offdiag_weight": 0.3, "factor": 1.0},
    "barlow": {"norm": "standardize", "scale": None, "offdiag_weight": 0.0051, "factor": 1.0},
}
# Beside rounding of float32: the interpreter cuts bfloat16 off, where a GPU rounds to nearest.
TOLERANCE = {torch.float32: 5e-7, torch.float16: 5e-4, torch.bfloat16: 4e-3}


def latents(rows, columns, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, columns, generator=generator).to(dtype)


def loss_and_gradient(z, **formula):
    z = z.clone().requires_grad_()
    loss = orthogonality_loss(z, backend="triton", **formula)
    return loss.detach(), torch.autograd.grad(loss, z)[0]


@NEEDS_TRITON
@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
@pytest.mark.parametrize("shape", [(5, 37), (67, 131), (64, 65), (130, 140)], ids=str)
def test_ragged_shapes_equal_the_oracle(formula, shape):
    z = latents(*shape)
    value, expected = value_and_gradient(z.double(), **formula)
    loss, gradient = loss_and_gradient(z, **formula)
    assert loss.item() == pytest.approx(value.item(), rel=2e-7)
    assert (gradient - expected).norm() <= 5e-7 * expected.norm()


@NEEDS_TRITON
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", ["paper", "barlow"])
def test_16_bit_input_is_computed_in_float32(dtype, name):
    z = latents(20, 70, dtype)
    value, expected = value_and_gradient(z.double(), **FORMULAS[name])
    loss, gradient = loss_and_gradient(z, **FORMULAS[name])
    assert gradient.dtype == dtype and loss.item() == pytest.approx(value.item(), rel=2e-7)
    assert (gradient - expected).norm() <= TOLERANCE[dtype] * expected.norm()


@NEEDS_TRITON
def test_a_scaled_loss_in_float16_keeps_the_digits_of_its_gradient():
    z = (latents(5, 37) * 3000).half()
    leaf = z.clone().requires_grad_()
    loss = orthogonality_loss(leaf, backend="triton", **FORMULAS["paper"])
    (gradient,) = torch.autograd.grad(65536 * loss, leaf)
    _, expected = value_and_gradient(z.double(), **FORMULAS["paper"])
    assert (gradient.double() / 65536 - expected).norm() <= 5e-4 * expected.norm()


@NEEDS_TRITON
@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
def test_zero_rows_and_columns(formula):
    z = latents(6, 40)
    z[2], z[:, 3] = 0, 0
    value, expected = value_and_gradient(z.double(), **formula)
    loss, gradient = loss_and_gradient(z, **formula)
    assert loss.item() == pytest.approx(value.item(), rel=2e-7)
    assert (gradient - expected).norm() <= 5e-7 * expected.norm()


@NEEDS_TRITON
@pytest.mark.parametrize("norm", ["none", "feature", "standardize"])
def test_nan_reaches_the_loss_and_the_gradient(norm):
    z = latents(6, 40)
    z[2, 3] = float("nan")
    loss, gradient = loss_and_gradient(z, norm=norm)
    assert loss.isnan() and gradient.isnan().any()


@NEEDS_TRITON
def test_rows_at_the_optimum_keep_an_accurate_gradient():
    z = torch.eye(40, 90) + latents(40, 90) / 1000
    value, expected = value_and_gradient(z.double(), **FORMULAS["paper"])
    _, eager = value_and_gradient(z, **FORMULAS["paper"])
    loss, gradient = loss_and_gradient(z, **FORMULAS["paper"])
    assert loss.item() == pytest.approx(value.item(), rel=1.2e-7)
    assert (gradient - expected).norm() <= 2 * (eager - expected).norm()


@NEEDS_TRITON
@pytest.mark.parametrize("rows", [1, 5, 16, 67])
@pytest.mark.parametrize("eps", [0.0, 1e-12])
def test_rows_that_only_fill_the_block_do_not_count(rows, eps):
    z, formula = latents(rows, 90), FORMULAS["paper"] | {"scale": None, "eps": eps}
    value, expected = value_and_gradient(z.double(), **formula)
    loss, gradient = loss_and_gradient(z, **formula)
    assert loss.item() == pytest.approx(value.item(), rel=2e-7)
    assert (gradient - expected).norm() <= 5e-7 * expected.norm() + 1e-7


@NEEDS_TRITON
@pytest.mark.parametrize("size", [1e20, 1e37, 1e-11, 1e-25, 1e-41])
def test_the_size_of_unit_rows_does_not_matter(size):
    z = latents(4, 9) * torch.tensor([[size], [1.0], [2.0], [size]])
    formula = FORMULAS["paper"] | {"eps": 1e-60}
    value, expected = value_and_gradient(z.double(), **formula)
    loss, gradient = loss_and_gradient(z, **formula)
    assert loss.item() == pytest.approx(value.item(), rel=2e-7)
    rows = slice(0, 4) if size > 1e-38 else slice(1, 3)  # 1/r of the others is beyond float32
    torch.testing.assert_close(gradient[rows].double(), expected[rows], rtol=2e-5, atol=0)


@NEEDS_TRITON
def test_infinity_in_the_only_row_reaches_the_loss():
    z = torch.tensor([[1.0, float("inf"), 2.0]])
    loss, gradient = loss_and_gradient(z, **FORMULAS["paper"])
    assert loss.isnan() and gradient.isnan().any()


@NEEDS_TRITON
def test_bits_repeat_and_the_counters_are_left_at_zero():
    z = latents(67, 131)
    first, second = (loss_and_gradient(z, **FORMULAS["barlow"]) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@NEEDS_TRITON
def test_the_value_alone_equals_the_value_with_gradient():
    z = latents(20, 70)
    assert orthogonality_loss(z, backend="triton") == loss_and_gradient(z)[0]


@NEEDS_TRITON
@pytest.mark.parametrize(
    "z, formula",
    [
        (torch.ones(3, 4, dtype=torch.float64), {}),
        (torch.ones(4, 3), {}),
        (torch.ones(300, 301), {}),
        (torch.empty(2).as_strided((256, 2**23), (0, 0)), {}),
        (torch.ones(3, 4), {"norm": "sample", "offdiag_weight": 0.5}),
    ],
    ids=["float64", "primal", "many-rows", "offsets-beyond-32-bits", "sample"],
)
def test_a_case_it_does_not_take_is_refused_when_forced(z, formula):
    with pytest.raises(InputError, match="backend 'triton' does not take these tensors"):
        orthogonality_loss(z, backend="triton", **formula)


def test_a_cpu_tensor_beside_a_gpu_is_refused_when_forced(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    able = {"reference": True, "triton": True}
    monkeypatch.setattr("mflag.ops.backend.backends", lambda: able)
    with pytest.raises(InputError, match=r"'triton' does not take these tensors \(on cpu\)"):
        orthogonality_loss(torch.ones(3, 4), backend="triton")
