import numpy as np
import pytest
import torch

from mflag.config.feed import AugmentConfig
from mflag.data.augment import augment, check_augment, draw_parameters
from mflag.data.counter_random import uniform
from mflag.errors import InputError

OFF = AugmentConfig(scale_min=1.0, rotation_degrees=0.0, brightness=0.0, contrast=0.0)


def ramp(size=8):
    return torch.arange(size * size, dtype=torch.uint8).view(1, 1, size, size)


def apply(images, config, size, epoch=0):
    rows = np.arange(len(images))
    return augment(images, draw_parameters(config, 0, epoch, rows), size)


def square_crop(monkeypatch):
    monkeypatch.setattr("mflag.data.augment._LOG_ASPECT", 0.0)


def test_without_change_the_image_is_only_normalised(monkeypatch):
    square_crop(monkeypatch)
    expected = (ramp().float() / 255 - 0.5) / 0.5
    torch.testing.assert_close(apply(ramp(), OFF, 8), expected.expand(-1, 3, -1, -1))


def test_bfloat16_is_what_a_convolution_under_autocast_makes_of_float32():
    images = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    parameters = draw_parameters(AugmentConfig(), 0, 0, np.arange(2))
    convolution = torch.nn.Conv2d(3, 4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        of_single = convolution(augment(images, parameters, 24))
        of_half = convolution(augment(images, parameters, 24, torch.bfloat16))
    assert torch.equal(of_single, of_half)


def test_the_result_is_channels_last():
    assert apply(ramp(), OFF, 8).is_contiguous(memory_format=torch.channels_last)


def test_flip_mirrors_left_and_right(monkeypatch):
    square_crop(monkeypatch)
    config = AugmentConfig(1.0, 0.0, 0.0, 0.0, flip=True)
    images = ramp().expand(32, -1, -1, -1)
    plain, flipped = apply(images, OFF, 8), apply(images, config, 8)
    is_same = (plain == flipped).flatten(1).all(1)
    assert 4 < int(is_same.sum()) < 28
    torch.testing.assert_close(flipped[~is_same], plain[~is_same].flip(3))


def test_crop_keeps_the_share_of_the_area(monkeypatch):
    square_crop(monkeypatch)
    config = AugmentConfig(0.25, 0.0, 0.0, 0.0)
    theta = draw_parameters(config, 0, 0, np.arange(4000)).theta
    area = theta[:, 0, 0] * theta[:, 1, 1]
    assert 0.25 <= area.min() < 0.27 and 0.97 < area.max() <= 1


def test_crop_stays_inside():
    theta = draw_parameters(AugmentConfig(rotation_degrees=0.0), 0, 0, np.arange(1000)).theta
    reach = theta[:, [0, 1], [0, 1]].abs() + theta[:, :, 2].abs()
    assert float(reach.max()) <= 1 + 1e-6


def test_rotation_keeps_lengths(monkeypatch):
    square_crop(monkeypatch)
    config = AugmentConfig(1.0, 90.0, 0.0, 0.0)
    matrix = draw_parameters(config, 0, 0, np.arange(50)).theta[:, :, :2]
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(2).expand(50, 2, 2))


def test_parameters_depend_on_study_epoch_and_seed_and_on_nothing_else():
    config = AugmentConfig()
    together = draw_parameters(config, 1, 2, np.array([5, 9])).theta
    alone = draw_parameters(config, 1, 2, np.array([9])).theta
    assert torch.equal(together[1:], alone)
    assert not torch.equal(alone, draw_parameters(config, 1, 3, np.array([9])).theta)
    assert not torch.equal(alone, draw_parameters(config, 2, 2, np.array([9])).theta)


def test_uniform_numbers_have_the_moments_of_uniform_numbers():
    u = uniform(3, 1, np.arange(20000), 4)
    assert u.min() >= 0 and u.max() < 1
    np.testing.assert_allclose(u.mean(0), 0.5, atol=0.01)
    np.testing.assert_allclose(np.cov(u.T), np.eye(4) / 12, atol=0.003)


@pytest.mark.parametrize(
    "wrong",
    [{"scale_min": 0.0}, {"brightness": 1.0}, {"contrast": -0.1}, {"rotation_degrees": 200.0}],
)
def test_impossible_ranges_are_refused(wrong):
    with pytest.raises(InputError, match=f"augment.{next(iter(wrong))}"):
        check_augment(AugmentConfig(**wrong))
