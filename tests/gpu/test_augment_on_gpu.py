"""The augmentation on the GPU against the float64 oracle, and twice with the same bits."""

from typing import Any

import numpy as np
import pytest
import torch

from mflag import backends
from mflag.config.feed import AugmentConfig
from mflag.data.augment import draw_parameters
from mflag.ops import augment_images
from tests.oracles.augment import augmented

pytestmark = pytest.mark.gpu
BACKENDS = [name for name in ("reference", "triton", "cuda") if backends()[name] is True]
SHAPES = [((256, 256), 224), ((37, 53), 29), ((1, 1), 1), ((9, 31), 301), ((700, 300), 64)]
NORMAL: dict[str, Any] = {"mean": 0.5, "std": 0.5}
# The reference's coordinates are float32: off by 2^-16 pixels at 256, and neighbours of noise
# differ by all of the range. bfloat16 is one rounding more.
FLOOR = {"reference": 3e-4, "triton": 2e-6, "cuda": 2e-6}
ROUNDING = {torch.float32: 0.0, torch.bfloat16: 4e-3}


def case(batch, height, width):
    generator = torch.Generator().manual_seed(0)
    shape = (batch, 1, height, width)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    config = AugmentConfig(scale_min=0.3, rotation_degrees=45.0, flip=True)
    drawn = draw_parameters(config, 0, 0, np.arange(batch))
    return images, (drawn.theta, drawn.brightness, drawn.contrast)


def run(images, parameters, **options):
    on_gpu = [given.cuda() for given in (images, *parameters)]
    return augment_images(*on_gpu, **{**NORMAL, **options})


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape, size", SHAPES, ids=str)
def test_every_pixel_equals_the_oracle(backend, dtype, channels, shape, size):
    images, parameters = case(5, *shape)
    result = run(images, parameters, size=size, channels=channels, dtype=dtype, backend=backend)
    wide = (given.double().numpy() for given in parameters)
    oracle = augmented(images[:, 0].numpy(), *wide, size=size, **NORMAL)
    error = (result.cpu().double() - torch.from_numpy(oracle)[:, None]).abs().max()
    assert result.stride() == (size * size * channels, 1, size * channels, channels)
    assert float(error) <= FLOOR[backend] + ROUNDING[dtype]


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
def test_it_gives_the_same_bits_a_hundred_times(backend):
    images, parameters = case(32, 256, 256)
    first = run(images, parameters, size=224, backend=backend)
    for _ in range(100):
        assert torch.equal(run(images, parameters, size=224, backend=backend), first)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
def test_it_is_captured_in_a_graph(backend):
    images, parameters = case(4, 64, 64)
    on_gpu = [given.cuda() for given in (images, *parameters)]
    options: dict[str, Any] = {"size": 48, "backend": backend, **NORMAL}
    augment_images(*on_gpu, **options)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = augment_images(*on_gpu, **options)
    on_gpu[0].copy_(images.flip(0))
    graph.replay()
    assert torch.equal(captured, augment_images(*on_gpu, **options))


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_image_whose_place_is_no_number_is_nan_and_no_other(backend):
    images, parameters = case(3, 16, 16)
    parameters[0][1, 1, 2] = torch.nan
    result = run(images, parameters, size=16, backend=backend)
    assert result[1].isnan().all() and result[[0, 2]].isfinite().all()
