"""The Triton kernels in the interpreter, and compiled for GPUs that are not here."""

from typing import Any

import pytest
import torch

from mflag import backends
from mflag.ops import augment_images
from tests.oracles.augment import augmented

NEEDS_TRITON = pytest.mark.skipif(
    backends()["triton"] is not True, reason=f"triton: {backends()['triton']}"
)
NORMAL: dict[str, Any] = {"mean": 0.5, "std": 0.25, "backend": "triton"}
# The interpreter cuts bfloat16 off, where a GPU rounds to nearest; the result is below 2.
TOLERANCE = {torch.float32: 4e-6, torch.bfloat16: 8e-3}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def case(batch, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, 1, height, width)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    theta = torch.randn(batch, 2, 3, generator=generator)
    factors = 1 + 0.4 * torch.randn(2, batch, generator=generator)
    return images, (theta, factors[0], factors[1])


def run(images, parameters, **options):
    on_device = [given.to(DEVICE) for given in (images, *parameters)]
    return augment_images(*on_device, **{**NORMAL, **options}).cpu()


def expected(images, parameters, size):
    wide = (given.double().numpy() for given in parameters)
    result = augmented(images[:, 0].numpy(), *wide, size=size, mean=0.5, std=0.25)
    return torch.from_numpy(result)[:, None]


@NEEDS_TRITON
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "shape, size", [((7, 5), 33), ((1, 1), 1), ((40, 64), 32), ((9, 31), 47)], ids=str
)
def test_ragged_shapes_equal_the_oracle(dtype, channels, shape, size):
    images, parameters = case(3, *shape)
    result = run(images, parameters, size=size, channels=channels, dtype=dtype)
    assert result.dtype == dtype and result.is_contiguous(memory_format=torch.channels_last)
    error = (result.double() - expected(images, parameters, size)).abs().max()
    assert float(error) <= TOLERANCE[dtype]


@NEEDS_TRITON
def test_a_slot_of_several_tiles_is_summed_whole(monkeypatch):
    monkeypatch.setattr("mflag.kernels.augment.MAX_SLOTS", 2)
    images, parameters = case(2, 20, 20)
    size = 70  # 5 tiles of 1,024 pixels, 3 in a slot
    error = (run(images, parameters, size=size) - expected(images, parameters, size)).abs().max()
    assert float(error) <= TOLERANCE[torch.float32]


@NEEDS_TRITON
def test_strides_of_the_input_do_not_matter():
    images, parameters = case(3, 12, 10)
    wide = torch.zeros(3, 2, 15, 40, dtype=torch.uint8)
    wide[:, 1:, 2:14, 5:15] = images
    plain = run(images, parameters, size=7)
    assert torch.equal(run(wide[:, 1:, 2:14, 5:15], parameters, size=7), plain)
    turned = images.transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.equal(run(turned, parameters, size=7), plain)
    one = run(images[:1].expand(3, -1, -1, -1), parameters, size=7)
    assert torch.equal(one, run(images[:1].repeat(3, 1, 1, 1), parameters, size=7))


@NEEDS_TRITON
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1e30])
def test_an_image_whose_place_is_no_number_is_nan_and_no_other(wrong):
    images, parameters = case(3, 8, 8)
    parameters[0][1, 1, 2] = wrong
    result = run(images, parameters, size=8)
    assert result[1].isnan().all() and result[[0, 2]].isfinite().all()


@NEEDS_TRITON
@pytest.mark.skipif(backends()["cpu"] is not True, reason=f"cpu: {backends()['cpu']}")
def test_it_agrees_with_the_cpu_kernel():
    images, parameters = case(2, 60, 50)
    mine = run(images, parameters, size=40)
    other = augment_images(images, *parameters, size=40, **{**NORMAL, "backend": "cpu"})
    torch.testing.assert_close(mine, other, rtol=0.0, atol=2e-6)
