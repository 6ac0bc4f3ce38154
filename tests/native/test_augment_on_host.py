"""The CUDA kernels of the augmentation, run on the host, against the float64 oracle."""

import pytest
import torch

from tests.native.on_host import compile_on_host
from tests.oracles.augment import augmented

# float32 rounding of results below 2; one rounding to bfloat16.
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 4e-3}


@pytest.fixture(scope="module")
def library():
    return compile_on_host("augment.cpp", sanitize=True)


def case(batch, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, height, width)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    theta = torch.randn(batch, 2, 3, generator=generator)
    factors = 1 + 0.4 * torch.randn(2, batch, generator=generator)
    return images, theta, factors[0].clone(), factors[1].clone()


def run(library, inputs, size, *, channels=3, dtype=torch.float32, max_slots=64, order=0):
    """(B, size, size, channels); a NaN anywhere is a value that was not written."""
    images, *parameters = inputs
    out = torch.full((len(images), size, size, channels), torch.nan, dtype=dtype)
    partials = torch.full((len(images), 64), torch.nan, dtype=torch.float64)
    library.call(
        "augment", images, *parameters, partials, out, 0.5, 0.5, *images.shape,
        *images.stride()[:2], size, channels, int(dtype == torch.float32), max_slots, order,
    )  # fmt: skip
    return out


def expected(inputs, size):
    images, *parameters = inputs
    wide = (given.double().numpy() for given in parameters)
    return torch.from_numpy(augmented(images.numpy(), *wide, size=size, mean=0.5, std=0.5))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "shape, size", [((7, 5), 33), ((1, 1), 1), ((40, 64), 32), ((9, 31), 47)], ids=str
)
def test_ragged_shapes_equal_the_oracle(library, dtype, channels, shape, size):
    inputs = case(3, *shape)
    result = run(library, inputs, size, channels=channels, dtype=dtype).double()
    error = (result - expected(inputs, size)[..., None]).abs().max()
    assert float(error) <= TOLERANCE[dtype]


def test_a_slot_of_several_tiles_is_summed_whole(library):
    inputs = case(2, 20, 20)
    result = run(library, inputs, 70, max_slots=2)  # 5 tiles of 1,024 pixels
    assert float((result - expected(inputs, 70)[..., None]).abs().max()) <= 2e-6


@pytest.mark.parametrize("order", [1, 2])
def test_the_order_of_blocks_and_threads_does_not_change_a_bit(library, order):
    inputs = case(3, 30, 20)
    assert torch.equal(run(library, inputs, 40, order=order), run(library, inputs, 40))


def test_rows_and_images_may_lie_apart(library):
    images, *parameters = case(2, 12, 10)
    wide = torch.zeros(2, 15, 40, dtype=torch.uint8)
    wide[:, 2:14, 5:15] = images
    apart = run(library, (wide[:, 2:14, 5:15], *parameters), 7)
    assert torch.equal(apart, run(library, (images, *parameters), 7))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1e30])
def test_an_image_whose_place_is_no_number_is_nan_and_no_other(library, wrong):
    inputs = case(3, 8, 8)
    inputs[1][1, 1, 2] = wrong
    result = run(library, inputs, 8)
    assert result[1].isnan().all() and result[[0, 2]].isfinite().all()
