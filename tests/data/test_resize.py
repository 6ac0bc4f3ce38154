import pytest
import torch
from torch.nn import functional

from mflag.data.resize import resize_batch


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 1, 256, 256), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_divisor_averages_whole_boxes(images, size):
    side = 256 // size
    boxes = images.double().view(2, 1, size, side, size, side).mean((3, 5)) / 255
    torch.testing.assert_close(resize_batch(images, size).double(), boxes, rtol=0, atol=1e-6)


def test_full_size_only_scales(images):
    torch.testing.assert_close(resize_batch(images, 256), images / 255)


def test_other_sizes_are_antialiased(images):
    expected = functional.interpolate(images / 255, (96, 96), mode="bilinear", antialias=True)
    torch.testing.assert_close(resize_batch(images, 96), expected)


def test_images_are_not_changed(images):
    before = images.clone()
    resize_batch(images, 256)
    assert torch.equal(images, before)
