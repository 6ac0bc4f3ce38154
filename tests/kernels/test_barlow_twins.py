import pytest
import torch

from mflag import backends
from mflag.errors import InputError
from mflag.ops import barlow_twins_loss
from tests.oracles.barlow_twins import value_and_gradients

pytestmark = pytest.mark.skipif(
    backends()["triton"] is not True, reason=f"triton: {backends()['triton']}"
)
VALUE_FLOOR, GRADIENT_FLOOR = 2.4e-7, 4e-7


def two_views(shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(shape, generator=generator)
    return z.to(dtype), (z + torch.randn(shape, generator=generator) / 2).to(dtype)


def triton(views, λ):
    views = [z.clone().requires_grad_() for z in views]
    loss = barlow_twins_loss(*views, offdiag_weight=λ, backend="triton")
    return loss.detach(), *torch.autograd.grad(loss, views)


def check_accuracy(ours, views, λ, floor=GRADIENT_FLOOR):
    z_a, z_b = views
    exact = value_and_gradients(z_a.double(), z_b.double(), offdiag_weight=λ)
    eager = value_and_gradients(z_a.float(), z_b.float(), offdiag_weight=λ)
    for floor_here, value, expected, other in zip(
        (VALUE_FLOOR, floor, floor), ours, exact, eager, strict=True
    ):
        error, allowed = (value - expected).norm(), 2 * (other - expected).norm()
        assert error <= max(float(allowed), floor_here * float(expected.norm()))


@pytest.mark.parametrize("λ", [5e-3, 1.0])
@pytest.mark.parametrize(
    "shape", [(5, 37), (37, 5), (67, 70), (70, 67), (33, 33), (3, 1), (1, 3)], ids=str
)
def test_ragged_shapes_equal_the_oracle(shape, λ):
    views = two_views(shape)
    check_accuracy(triton(views, λ), views, λ)


@pytest.mark.parametrize("shape", [(50, 60), (60, 50)], ids=str)
def test_strips_of_the_triangles_equal_the_oracle(shape, monkeypatch):
    from mflag.kernels.launch_table import GRAM_TILES

    rows = {known: row._replace(strip=32, strips_from=40) for known, row in GRAM_TILES.items()}
    monkeypatch.setattr("mflag.kernels.launch_table.GRAM_TILES", rows)
    views = two_views(shape)
    check_accuracy(triton(views, 0.3), views, 0.3)


@pytest.mark.parametrize("dtype, floor", [(torch.float16, 6e-4), (torch.bfloat16, 4e-3)], ids=str)
@pytest.mark.parametrize("shape", [(20, 70), (70, 20)], ids=str)
def test_16_bit_views_are_computed_in_float32(dtype, floor, shape):
    views = two_views(shape, dtype)
    ours = triton(views, 5e-3)
    assert ours[1].dtype == dtype
    check_accuracy(ours, views, 5e-3, floor)


@pytest.mark.parametrize("shape", [(9, 40), (40, 9)], ids=str)
def test_equal_views_and_constant_columns(shape):
    z, _ = two_views(shape)
    z[:, 0], z[:, 1] = 0, 1e4
    check_accuracy(triton((z, z), 0.3), (z, z), 0.3)


@pytest.mark.parametrize("shape", [(9, 40), (40, 9)], ids=str)
def test_nan_in_one_view_reaches_the_loss_and_both_gradients(shape):
    z_a, z_b = two_views(shape)
    z_b[3, 2] = float("nan")
    assert all(result.isnan().any() for result in triton((z_a, z_b), 0.3))


@pytest.mark.parametrize("shape", [(20, 70), (70, 20)], ids=str)
def test_bits_repeat_and_the_value_alone_is_the_same(shape):
    views = two_views(shape)
    first, second = triton(views, 5e-3), triton(views, 5e-3)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(barlow_twins_loss(*views, backend="triton"), first[0])


def test_float64_is_refused_when_forced():
    views = two_views((4, 6), torch.float64)
    with pytest.raises(InputError, match="backend 'triton' does not take these tensors"):
        barlow_twins_loss(*views, backend="triton")
