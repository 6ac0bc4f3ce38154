import pytest
import torch
from lightly.loss import BarlowTwinsLoss as LightlyBarlowTwinsLoss

from mflag.errors import InputError
from mflag.losses import BarlowTwinsLoss


def views(rows, columns, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    z_a = torch.randn(rows, columns, dtype=dtype, generator=generator)
    return z_a, z_a + torch.randn(rows, columns, dtype=dtype, generator=generator) / 2


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (6, 6)], ids=str)
@pytest.mark.parametrize("λ", [5e-3, 1.0])
def test_value_and_gradients_equal_lightly(shape, λ):
    z = tuple(view.requires_grad_() for view in views(*shape))
    ours, theirs = BarlowTwinsLoss(λ)(*z), LightlyBarlowTwinsLoss(λ)(*z)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(loss, z) for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-13)


def test_one_view_alone_gets_its_gradient():
    z_a, z_b = views(4, 6)
    z_b.requires_grad_()
    (gradient,) = torch.autograd.grad(BarlowTwinsLoss()(z_a, z_b), z_b)
    (expected,) = torch.autograd.grad(LightlyBarlowTwinsLoss()(z_a, z_b), z_b)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-13)


def test_first_and_second_derivatives():
    z = tuple(view.requires_grad_() for view in views(3, 5))
    assert torch.autograd.gradcheck(BarlowTwinsLoss(0.1), z)
    assert torch.autograd.gradgradcheck(BarlowTwinsLoss(0.1), z)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
def test_opcheck(dtype):
    z = tuple(view.to(dtype).requires_grad_() for view in views(3, 5))
    torch.library.opcheck(torch.ops.mflag.barlow_twins.default, (*z, 0.1, True, None))


def test_autocast_computes_in_float32():
    z = views(8, 20, torch.float32)
    expected = BarlowTwinsLoss()(*z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert BarlowTwinsLoss()(*z) == expected


def test_a_global_lower_precision_changes_nothing():
    z = tuple(view.requires_grad_() for view in views(256, 512, torch.float32))

    def loss_and_derivatives():
        loss = BarlowTwinsLoss()(*z)
        first = torch.autograd.grad(loss, z, create_graph=True)
        return loss, *first, *torch.autograd.grad((first[0] * z[1].detach()).sum(), z)

    expected = loss_and_derivatives()
    torch.set_float32_matmul_precision("medium")
    try:
        found = loss_and_derivatives()
    finally:
        torch.set_float32_matmul_precision("highest")
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_a_scaled_loss_in_float16_keeps_the_digits_of_its_gradients():
    z = tuple((view * 1000).half().requires_grad_() for view in views(8, 20))
    ours = torch.autograd.grad(65536 * BarlowTwinsLoss()(*z), z)
    exact = tuple(view.detach().double().requires_grad_() for view in z)
    theirs = torch.autograd.grad(LightlyBarlowTwinsLoss()(*exact), exact)
    for mine, expected in zip(ours, theirs, strict=True):
        assert (mine.double() / 65536 - expected).norm() <= 5e-4 * expected.norm()


def test_views_on_two_devices_are_refused():
    with pytest.raises(InputError, match="z_a is on cpu but z_b is on meta"):
        BarlowTwinsLoss()(torch.ones(3, 4), torch.ones(3, 4, device="meta"))


def test_it_has_no_state():
    assert not BarlowTwinsLoss().state_dict()


def test_views_of_different_shape_are_refused():
    with pytest.raises(InputError, match="give two views of one shape"):
        BarlowTwinsLoss()(torch.ones(3, 4), torch.ones(3, 5))
