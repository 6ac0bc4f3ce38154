import numpy as np
import pytest

from mflag.downstream.geometry import latent_geometry


def test_participation_ratio_of_isotropic_noise_is_as_expected():
    z = np.random.default_rng(0).normal(size=(500, 128))
    expected = 128 * 500 / (128 + 500)
    assert latent_geometry(z)["participation_ratio"] == pytest.approx(expected, rel=0.02)


def test_one_direction_holds_all_variance_of_collapsed_features():
    z = np.outer(np.arange(10.0), np.ones(5)) + 7
    geometry = latent_geometry(z)
    assert geometry["top_share"] == pytest.approx(1)
    assert geometry["effective_rank_centred"] == pytest.approx(1)


def test_constant_features_are_counted_as_dead():
    z = np.random.default_rng(0).normal(size=(20, 4))
    z[:, 1:3] = 0.5
    assert latent_geometry(z)["dead"] == 2


def test_constant_images_have_no_spectrum():
    assert latent_geometry(np.ones((5, 3)))["effective_rank_centred"] == 0.0
