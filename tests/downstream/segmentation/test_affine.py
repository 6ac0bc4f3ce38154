import numpy as np
import pytest
import torch

from mflag.config.evaluate import AffineConfig
from mflag.data.augment import augment
from mflag.downstream.segmentation.affine import check_affine, draw_affine, move_masks
from mflag.downstream.segmentation.masks import resize_masks
from mflag.errors import InputError

ROWS = np.arange(64)
ALWAYS = AffineConfig(scale=0.1, rotation_degrees=10, probability=1)


def blobs():
    y, x = np.mgrid[:256, :256]
    return torch.from_numpy(
        np.stack([((x - 90 - k) ** 2 + (y - 140) ** 2 < 40**2) for k in range(8)])
    )


def test_image_and_mask_move_together():
    masks = blobs()
    parameters = draw_affine(ALWAYS, 0, 0, ROWS[:8])
    images = (masks[:, None] * 255).to(torch.uint8)
    pixels = augment(images, parameters, 64)[:, 0]  # 1 inside, -1 outside
    moved = move_masks(masks, parameters, 64)
    assert ((pixels > 0).float() - moved).abs().mean() < 0.002
    assert (moved - resize_masks(masks, 64).float()).abs().mean() > 0.005


def test_without_change_the_mask_is_that_of_the_test():
    parameters = draw_affine(AffineConfig(probability=0), 0, 0, ROWS[:8])
    masks = blobs()
    torch.testing.assert_close(move_masks(masks, parameters, 64), resize_masks(masks, 64).float())


def test_half_of_the_images_change_within_the_ranges():
    theta = draw_affine(AffineConfig(), 3, 5, np.arange(4000)).theta.double()
    zoom = 1 / torch.linalg.det(theta[:, :, :2]).sqrt()
    angle = torch.rad2deg(torch.atan2(theta[:, 1, 0], theta[:, 0, 0]))
    changed = (zoom - 1).abs() > 1e-6
    assert float(changed.double().mean()) == pytest.approx(0.5, abs=0.03)
    assert 0.09 < float((zoom - 1).abs().max()) < 0.1001
    assert 9 < float(angle.abs().max()) < 10.001
    assert not theta[:, :, 2].any()


def test_change_depends_on_seed_epoch_and_row_alone():
    one = draw_affine(ALWAYS, 1, 2, ROWS).theta
    torch.testing.assert_close(draw_affine(ALWAYS, 1, 2, ROWS[5:9]).theta, one[5:9])
    assert not torch.equal(draw_affine(ALWAYS, 1, 3, ROWS).theta, one)
    assert not torch.equal(draw_affine(ALWAYS, 2, 2, ROWS).theta, one)


@pytest.mark.parametrize(
    "values", [{"scale": 1.0}, {"scale": -0.1}, {"rotation_degrees": 181}, {"probability": 1.5}]
)
def test_ranges_that_cannot_be_drawn_are_refused(values):
    with pytest.raises(InputError, match=f"task.affine.{next(iter(values))} is"):
        check_affine(AffineConfig(**values))
