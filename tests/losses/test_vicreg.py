import inspect

import pytest
import torch
from lightly.loss import VICRegLoss as LightlyVICRegLoss

from mflag.errors import InputError
from mflag.losses import VICRegLoss
from tests.ops.test_orthogonality import FAMILIES, inputs_of

SHAPES = [(8, 20), (20, 8), (6, 6), (2, 5), (5, 1), (4, 3, 7), (9, 2, 2, 5)]


def views(shape, dtype=torch.float64, size=1.0):
    generator = torch.Generator().manual_seed(0)
    z_a = torch.randn(shape, dtype=dtype, generator=generator) * size
    z_b = z_a + torch.randn(shape, dtype=dtype, generator=generator) * size / 2
    return z_a.requires_grad_(), z_b.requires_grad_()


def loss_and_gradients(loss, z):
    value = loss(*z)
    return value.detach(), *torch.autograd.grad(value, z)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", [0.3, 1.0])
@pytest.mark.parametrize("weights", [(), (3.0, 2.0, 0.7, False, 0.1)], ids=["default", "other"])
def test_value_and_gradients_equal_lightly(shape, size, weights):
    z = views(shape, size=size)
    ours = loss_and_gradients(VICRegLoss(*weights), z)
    theirs = loss_and_gradients(LightlyVICRegLoss(*weights), z)
    for mine, expected in zip(ours, theirs, strict=True):
        assert (mine - expected).norm() <= 1e-12 * expected.norm()


def test_arguments_are_those_of_lightly():
    ours, theirs = (inspect.signature(loss) for loss in (VICRegLoss, LightlyVICRegLoss))
    *first, last = [(p.name, p.default) for p in ours.parameters.values()]
    assert first == [(p.name, p.default) for p in theirs.parameters.values()]
    assert last == ("backend", None)
    assert list(inspect.signature(VICRegLoss.forward).parameters) == list(
        inspect.signature(LightlyVICRegLoss.forward).parameters
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [(128, 512), (40, 40)], ids=str)
def test_error_in_float32_is_at_most_twice_that_of_lightly(family, shape):
    z_a, noise = inputs_of(family, *shape), views(shape, torch.float32)[0].detach()
    z = z_a.requires_grad_(), (z_a * (1 + 0.3 * noise)).detach().requires_grad_()
    exact = loss_and_gradients(
        LightlyVICRegLoss(), [v.detach().double().requires_grad_() for v in z]
    )
    ours, theirs = (loss_and_gradients(loss, z) for loss in (VICRegLoss(), LightlyVICRegLoss()))
    for mine, other, expected in zip(ours, theirs, exact, strict=True):
        eager = (other - expected).norm() / expected.norm()
        assert (mine - expected).norm() / expected.norm() <= max(2 * eager, 4e-7)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (3, 2, 4)], ids=str)
def test_first_and_second_derivatives(shape):
    z = views(shape, size=0.3)
    assert torch.autograd.gradcheck(VICRegLoss(), z)
    assert torch.autograd.gradgradcheck(VICRegLoss(), z)


def test_equal_rows_have_no_covariance_and_the_largest_variance_term():
    z = torch.ones(4, 6, dtype=torch.float64, requires_grad=True)
    value, *gradients = loss_and_gradients(VICRegLoss(), (z, z + 0))
    assert value.item() == pytest.approx(25 * (1 - 1e-4**0.5), rel=1e-12)
    assert all(gradient.abs().max() == 0 for gradient in gradients)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_reach_the_loss(bad):
    z_a, z_b = views((4, 6))
    with torch.no_grad():
        z_a[1, 2] = bad
    assert not VICRegLoss()(z_a, z_b).isfinite()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_it_computes_in_float32_also_under_autocast(dtype):
    z = tuple(view.detach().to(dtype) for view in views((8, 20)))
    expected = VICRegLoss()(*(view.float() for view in z))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = VICRegLoss()(*z)
    assert value.dtype == torch.float32 and value.shape == () and value == expected


def test_strides_do_not_matter_and_nothing_is_written():
    z = tuple(view.detach().T.contiguous().T for view in views((8, 20)))
    before = [view.clone() for view in z]
    assert VICRegLoss()(*z).item() == pytest.approx(VICRegLoss()(*before).item(), rel=1e-12)
    assert all(torch.equal(*pair) for pair in zip(z, before, strict=True))


def test_it_has_no_state():
    assert not VICRegLoss().state_dict()


@pytest.mark.parametrize(
    "z_a, z_b, message",
    [
        (torch.ones(1, 4), torch.ones(1, 4), r"z_a has shape \(1, 4\); give .* B above 1"),
        (torch.ones(4), torch.ones(4), r"z_a has shape \(4,\)"),
        (torch.ones(3, 4), torch.ones(3, 5), "give two views of one shape"),
        (torch.ones(3, 4), torch.ones(3, 4, dtype=torch.int64), "z_b has dtype torch.int64"),
    ],
    ids=["B1", "1d", "shapes", "int"],
)
def test_what_is_no_pair_of_views_is_refused(z_a, z_b, message):
    with pytest.raises(InputError, match=message):
        VICRegLoss()(z_a, z_b)
