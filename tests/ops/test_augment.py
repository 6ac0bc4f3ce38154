from typing import Any

import numpy as np
import pytest
import torch

from mflag import backends
from mflag.config.feed import AugmentConfig
from mflag.data.augment import draw_parameters
from mflag.errors import InputError
from mflag.ops import augment_images
from tests.oracles.augment import augmented

BACKENDS = [name for name in ("reference", "cpu") if backends()[name] is True]
KERNELS = [name for name in BACKENDS if name != "reference"]
NORMAL: dict[str, Any] = {"mean": 0.5, "std": 0.5}
IDENTITY = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
# The reference's float32 coordinates are off by 2^-16 pixels at 256, and neighbours of noise differ
# by all of the range; a kernel's are exact.
TOLERANCE = {"reference": 1.5e-4, "cpu": 2e-6}
SHAPES = [
    ((256, 256), 224),
    ((37, 53), 29),
    ((5, 3), 40),
    ((1, 1), 1),
    ((1, 70), 9),
    ((31, 1), 300),
]


def noise(batch, height, width):
    generator = torch.Generator().manual_seed(0)
    shape = (batch, 1, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def drawn(batch, degrees=45.0):
    config = AugmentConfig(scale_min=0.3, rotation_degrees=degrees, flip=True)
    found = draw_parameters(config, 0, 0, np.arange(batch))
    return found.theta, found.brightness, found.contrast


def unchanged(batch, theta=IDENTITY):
    return torch.tensor(theta).repeat(batch, 1, 1), torch.ones(batch), torch.ones(batch)


def expected(images, parameters, size, mean=0.5, std=0.5):
    wide = (given.double().numpy() for given in parameters)
    result = augmented(images[:, 0].numpy(), *wide, size=size, mean=mean, std=std)
    return torch.from_numpy(result)[:, None]


def error(result, oracle):
    return float((result.double() - oracle).abs().max())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape, size", SHAPES, ids=str)
def test_every_pixel_equals_the_oracle(backend, channels, shape, size):
    images, parameters = noise(3, *shape), drawn(3)
    result = augment_images(
        images, *parameters, size=size, channels=channels, backend=backend, **NORMAL
    )
    assert result.shape == (3, channels, size, size) and result.dtype == torch.float32
    assert error(result, expected(images, parameters, size)) <= TOLERANCE[backend]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "theta",
    [
        [[0.5, 0.0, 0.2], [0.0, -0.7, 0.0]],
        [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]],
        [[0.0, 0.0, 0.3], [0.0, 0.0, -0.4]],
        [[3.0, 1.0, 0.0], [-1.0, 3.0, 0.0]],
        [[40.0, 0.0, 0.0], [0.0, 40.0, 0.0]],
        [[1.0, 0.0, 2.1], [0.0, 1.0, 0.0]],
        [[-1.0, 0.3, 0.0], [0.0, 1.0, -2.5]],
    ],
    ids=["flip", "quarter-turn", "one-point", "beyond-the-image", "far-out", "right-of", "above"],
)
def test_any_map_equals_the_oracle(backend, theta):
    images, parameters = noise(2, 20, 30), unchanged(2, theta)
    result = augment_images(images, *parameters, size=31, backend=backend, **NORMAL)
    assert error(result, expected(images, parameters, 31)) <= TOLERANCE[backend]


@pytest.mark.parametrize("backend", KERNELS)
def test_whole_turns_and_shifts_by_pixels_are_exact(backend):
    images = noise(1, 16, 16)
    quarter = unchanged(1, [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    shifted = unchanged(1, [[1.0, 0.0, 0.25], [0.0, 1.0, 0.0]])
    options = {"size": 16, "mean": 0.0, "std": 1.0, "channels": 1, "backend": backend}
    grey = images.float() / 255
    same: dict[str, Any] = {"rtol": 0.0, "atol": 2e-7}
    turned = augment_images(images, *quarter, **options)
    torch.testing.assert_close(turned, grey.rot90(-1, (2, 3)), **same)
    moved = torch.nn.functional.pad(grey[..., 2:], (0, 2))
    torch.testing.assert_close(augment_images(images, *shifted, **options), moved, **same)


@pytest.mark.parametrize("backend", BACKENDS)
def test_bfloat16_is_the_float32_result_rounded_once(backend):
    images, parameters = noise(3, 40, 40), drawn(3)
    options: dict[str, Any] = {"size": 33, "backend": backend, **NORMAL}
    single = augment_images(images, *parameters, **options)
    half = augment_images(images, *parameters, dtype=torch.bfloat16, **options)
    assert torch.equal(half, single.bfloat16())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_layout_is_channels_last_and_the_channels_are_equal(backend, channels):
    images, parameters = noise(2, 9, 9), drawn(2)
    options: dict[str, Any] = {"size": 8, "backend": backend, **NORMAL}
    result = augment_images(images, *parameters, channels=channels, **options)
    assert result.stride() == (64 * channels, 1, 8 * channels, channels)
    assert torch.equal(result, result[:, :1].expand_as(result))


@pytest.mark.parametrize("backend", BACKENDS)
def test_strides_of_the_input_do_not_matter(backend):
    images, parameters = noise(3, 12, 10), drawn(3)
    wide = torch.zeros(3, 2, 15, 40, dtype=torch.uint8)
    wide[:, 1:, 2:14, 5:15] = images
    options: dict[str, Any] = {"size": 7, "backend": backend, **NORMAL}
    plain = augment_images(images, *parameters, **options)
    turned = images.transpose(2, 3).contiguous().transpose(2, 3)
    spread = [torch.stack((given, given), -1)[..., 0] for given in parameters]
    for view in (wide[:, 1:, 2:14, 5:15], turned, images.flip(0).flip(0)):
        assert torch.equal(augment_images(view, *spread, **options), plain)
    one = augment_images(images[:1].expand(3, -1, -1, -1), *parameters, **options)
    again = augment_images(images[:1].repeat(3, 1, 1, 1), *parameters, **options)
    assert torch.equal(one, again)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_image_does_not_depend_on_its_batch(backend):
    images, parameters = noise(5, 30, 30), drawn(5)
    options: dict[str, Any] = {"size": 24, "backend": backend, **NORMAL}
    together = augment_images(images, *parameters, **options)
    alone = augment_images(images[3:4], *(given[3:4] for given in parameters), **options)
    assert torch.equal(together[3:4], alone)


@pytest.mark.parametrize("backend", KERNELS)
def test_bits_do_not_depend_on_the_number_of_threads(backend):
    images, parameters = noise(5, 60, 50), drawn(5)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(augment_images(images, *parameters, size=70, backend=backend, **NORMAL))
    torch.set_num_threads(before)
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_an_image_whose_place_is_no_number_is_nan_and_no_other(backend, wrong):
    images, (theta, brightness, contrast) = noise(3, 8, 8), unchanged(3)
    theta[1, 1, 2] = wrong
    result = augment_images(images, theta, brightness, contrast, size=8, backend=backend, **NORMAL)
    assert result[1].isnan().all() and result[[0, 2]].isfinite().all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("which", ["brightness", "contrast"])
def test_a_nan_factor_gives_a_nan_image(backend, dtype, which):
    images, (theta, brightness, contrast) = noise(2, 8, 8), unchanged(2)
    (brightness if which == "brightness" else contrast)[0] = float("nan")
    result = augment_images(
        images, theta, brightness, contrast, size=8, backend=backend, dtype=dtype, **NORMAL
    )
    assert result[0].isnan().all() and result[1].isfinite().all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("brightness, contrast", [(0.0, 1.0), (9.0, 0.0), (1.0, -3.0), (2.0, 8.0)])
def test_extreme_factors_are_clamped_as_in_the_oracle(backend, brightness, contrast):
    images, (theta, one, _) = noise(2, 10, 10), unchanged(2)
    parameters = (theta, brightness * one, contrast * one)
    result = augment_images(images, *parameters, size=10, backend=backend, mean=0.2, std=3.0)
    oracle = expected(images, parameters, 10, mean=0.2, std=3.0)
    assert error(result, oracle) <= TOLERANCE[backend]


@pytest.mark.parametrize("backend", KERNELS)
def test_kernels_agree_with_the_reference_on_a_smooth_image(backend):
    ramp = torch.arange(256).view(1, 1, 1, 256).expand(2, 1, 256, 256).to(torch.uint8)
    parameters = drawn(2, degrees=10.0)
    options: dict[str, Any] = {"size": 224, **NORMAL}
    mine = augment_images(ramp, *parameters, backend=backend, **options)
    other = augment_images(ramp, *parameters, backend="reference", **options)
    inside = mine[..., 60:-60, 60:-60], other[..., 60:-60, 60:-60]
    assert error(*inside) <= 3e-6


OK: dict[str, Any] = {"size": 4, "mean": 0.5, "std": 0.5}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"images": torch.zeros(2, 1, 8, 8)}, "images has dtype torch.float32; give torch.uint8"),
        ({"images": noise(2, 8, 8)[:, 0]}, r"images has shape \(2, 8, 8\); give \(B, 1, H, W\)"),
        ({"images": noise(2, 8, 8).expand(-1, 3, -1, -1)}, r"images has shape \(2, 3, 8, 8\)"),
        ({"images": noise(2, 8, 8)[:0]}, r"images has shape \(0, 1, 8, 8\); .* above 0"),
        ({"images": noise(2, 8, 8)[..., :0]}, r"images has shape \(2, 1, 8, 0\); .* above 0"),
        ({"images": noise(2, 1, 20000)}, "give H and W of at most 16384"),
        ({"theta": torch.zeros(2, 3, 2)}, r"theta is torch.float32 of shape \(2, 3, 2\); give"),
        ({"theta": torch.zeros(1, 2, 3)}, r"give torch.float32 of shape \(2, 2, 3\)"),
        ({"theta": torch.zeros(2, 2, 3).double()}, "theta is torch.float64 of shape"),
        ({"theta": torch.zeros(2, 2, 3, device="meta")}, "theta is on meta; give it on cpu"),
        ({"theta": torch.zeros(2, 2, 3, requires_grad=True)}, "theta requires a gradient"),
        ({"brightness": torch.ones(2, 1)}, r"brightness is .* \(2, 1\); give .* \(2,\)"),
        ({"contrast": torch.ones(2).half()}, "contrast is torch.float16"),
        ({"contrast": torch.ones(3)}, r"contrast is .* \(3,\); give .* \(2,\)"),
        ({"size": 0}, "size is 0; give 1 to 16384"),
        ({"size": 16385}, "size is 16385; give 1 to 16384"),
        ({"std": 0.0}, "std is 0.0; give a finite number above 0"),
        ({"std": float("nan")}, "std is nan"),
        ({"mean": float("inf")}, "mean is inf; give a finite number"),
        ({"channels": 2}, "channels is 2; give 1 or 3"),
        ({"dtype": torch.float16}, "dtype is torch.float16; give torch.float32 or torch.bfloat16"),
        ({"backend": "cude"}, "backend 'cude' is unknown"),
    ],
)
def test_wrong_input_is_refused_by_name(change, message):
    theta, brightness, contrast = unchanged(2)
    tensors = {"theta": theta, "brightness": brightness, "contrast": contrast}
    given = {"images": noise(2, 8, 8), **tensors, **OK, **change}
    with pytest.raises(InputError, match=message):
        augment_images(**given)


def test_triton_is_refused_for_a_cpu_tensor_unless_interpreted(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(InputError, match="backend 'triton'"):
        augment_images(noise(1, 4, 4), *unchanged(1), backend="triton", **OK)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_opcheck_passes(backend, channels, dtype):
    arguments = (noise(2, 9, 7), *drawn(2), 6, 0.5, 0.5, channels, dtype, backend)
    torch.library.opcheck(torch.ops.mflag.augment.default, arguments)


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_compiles_to_one_graph(backend):
    images, parameters = noise(2, 9, 9), drawn(2)

    def run(images, *parameters):
        return 2 * augment_images(images, *parameters, size=6, backend=backend, **NORMAL)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(images, *parameters), run(images, *parameters))
