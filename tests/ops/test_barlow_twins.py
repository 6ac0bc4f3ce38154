import pytest
import torch

from mflag import backends
from mflag.ops.barlow_twins import barlow_twins_loss
from tests.ops.test_orthogonality import (
    FAMILIES,
    GRADIENT_FLOOR,
    VALUE_FLOOR,
    inputs_of,
    or_infinity,
    relative,
)
from tests.oracles.barlow_twins import value_and_gradients

NATIVE = [name for name in ("reference", "cpu") if backends()[name] is True]
SHAPES = [(7, 19), (19, 7), (16, 16), (5, 1), (2, 3), (300, 400), (520, 140)]


def views_of(family, rows, columns, *, dtype=torch.float32):
    """Two views of one family: the second is the first with three tenths of noise."""
    z = inputs_of(family, rows, columns)
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
    views = (z.to(dtype), (z * (1 + 0.3 * noise)).to(dtype))
    return tuple(torch.where(view.isfinite(), view, 1.0) for view in views)  # 16 bit: huge ones


def loss_and_gradients(z, backend, λ=5e-3):
    z = tuple(view.detach().clone(memory_format=torch.preserve_format) for view in z)
    z = tuple(view.requires_grad_() for view in z)
    loss = barlow_twins_loss(*z, offdiag_weight=λ, backend=backend)
    return loss.detach(), *torch.autograd.grad(loss, z)


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("λ", [0.0, 5e-3, 1.0])
def test_float64_equals_autograd_of_the_full_matrix(backend, shape, λ):
    z = views_of("gaussian", *shape, dtype=torch.float64)
    value, *gradients = value_and_gradients(*z, offdiag_weight=λ)
    loss, *ours = loss_and_gradients(z, backend, λ)
    assert loss.item() == pytest.approx(value.item(), rel=1e-12)
    for mine, expected in zip(ours, gradients, strict=True):
        assert (mine - expected).norm() <= 1e-10 * expected.norm() + 1e-14


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("dtype", GRADIENT_FLOOR, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [(128, 512), (48, 37), (33, 101)], ids=str)
@pytest.mark.parametrize(
    "λ, is_same", [(5e-3, False), (5e-3, True), (1.0, False)], ids=["two", "same", "two-lambda1"]
)
def test_error_is_at_most_twice_that_of_eager(backend, dtype, family, shape, λ, is_same):
    z = views_of(family, *shape, dtype=dtype)
    z = (z[0], z[0] if is_same else z[1])
    exact = value_and_gradients(*(view.double() for view in z), offdiag_weight=λ)
    eager = value_and_gradients(*z, offdiag_weight=λ)
    ours = loss_and_gradients(z, backend, λ)
    for i, (mine, other, expected) in enumerate(zip(ours, eager, exact, strict=True)):
        floor = GRADIENT_FLOOR[dtype] if i else VALUE_FLOOR
        size = expected.norm()
        eager_error = or_infinity(relative((other.double() - expected).norm(), size))
        assert relative((mine.double() - expected).norm(), size) <= max(2 * eager_error, floor)


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("shape", [(3, 5), (5, 3)], ids=str)
def test_first_and_second_derivatives(backend, shape):
    z = tuple(view.requires_grad_() for view in views_of("gaussian", *shape, dtype=torch.float64))

    def loss(z_a, z_b):
        return barlow_twins_loss(z_a, z_b, offdiag_weight=0.5, backend=backend)

    assert torch.autograd.gradcheck(loss, z)
    assert torch.autograd.gradgradcheck(loss, z)


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("need_grad", [True, False])
@pytest.mark.parametrize(
    "z",
    [
        torch.ones(5, 3).T,
        torch.ones(5, 3),
        torch.ones(3, 5, dtype=torch.bfloat16),
        torch.ones(1, 4),
    ],
    ids=["transposed", "primal", "bf16", "B1"],
)
def test_opcheck(backend, z, need_grad):
    z = z * torch.arange(z.shape[1], dtype=z.dtype)
    z = tuple(view.requires_grad_(need_grad) for view in (z, z.cos()))
    torch.library.opcheck(torch.ops.mflag.barlow_twins.default, (*z, 0.5, need_grad, backend))


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize(
    "shape", [(128, 512), (130, 300), (70, 33), (40, 200), (4096, 50)], ids=str
)
def test_bits_repeat_and_do_not_depend_on_the_threads(backend, shape):
    z = views_of("gaussian", *shape)
    before = torch.get_num_threads()
    runs = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        runs.append(loss_and_gradients(z, backend))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run, strict=True))


@pytest.mark.parametrize("backend", NATIVE)
def test_strides_do_not_matter(backend):
    z = views_of("gaussian", 24, 60)
    sliced = tuple(view[::2, ::3] for view in z)
    expected = loss_and_gradients([view.contiguous() for view in sliced], backend)
    transposed = tuple(view.T.contiguous().T for view in sliced)
    for run in (sliced, transposed):
        found = loss_and_gradients(run, backend)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("backend", NATIVE)
def test_the_views_are_not_written(backend):
    z = views_of("gaussian", 9, 30)
    before = [view.clone() for view in z]
    loss_and_gradients(z, backend)
    assert all(torch.equal(*pair) for pair in zip(z, before, strict=True))


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("shape", [(4, 11), (11, 4)], ids=str)
def test_a_constant_column_is_as_in_the_full_matrix(backend, shape):
    z_a, z_b = views_of("gaussian", *shape, dtype=torch.float64)
    z_a[:, 2] = 3
    value, *expected = value_and_gradients(z_a, z_b)
    loss, *gradients = loss_and_gradients((z_a, z_b), backend)
    assert loss.item() == pytest.approx(value.item(), rel=1e-12)
    torch.testing.assert_close(gradients, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("columns", [1, 5])
def test_one_row_standardizes_to_zero(backend, columns):
    loss, *gradients = loss_and_gradients([torch.ones(1, columns)] * 2, backend)
    assert loss == columns and all(gradient.abs().max() == 0 for gradient in gradients)


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("shape", [(4, 11), (11, 4)], ids=str)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_of_one_view_reach_everything(backend, shape, bad):
    z_a, z_b = views_of("gaussian", *shape)
    z_b[1, 2] = bad
    assert not any(value.isfinite().all() for value in loss_and_gradients((z_a, z_b), backend))


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
def test_dtypes_of_loss_and_gradients(backend, dtype):
    loss, *gradients = loss_and_gradients([torch.ones(3, 5, dtype=dtype)] * 2, backend)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert all(gradient.dtype == dtype for gradient in gradients)


@pytest.mark.parametrize("backend", NATIVE)
def test_autocast_and_a_global_lower_precision_change_nothing(backend):
    z = views_of("gaussian", 256, 300)
    expected = barlow_twins_loss(*z, backend=backend)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert barlow_twins_loss(*z, backend=backend) == expected
    finally:
        torch.set_float32_matmul_precision("highest")


def test_no_gradient_is_worked_out_without_need():
    z = torch.ones(3, 5)
    _, *gradients = torch.ops.mflag.barlow_twins(z, z, 0.1, False, None)
    assert all(gradient.shape == (0,) for gradient in gradients)
