import numpy as np
import pytest

from mflag.downstream.geometry import latent_geometry, rankme


def test_rankme_of_the_identity_is_its_size():
    assert rankme(np.eye(8)) == pytest.approx(8.000007, abs=2e-6)


def test_rankme_of_rank_one_is_one():
    assert rankme(np.outer(np.arange(1.0, 9), np.ones(8))) == pytest.approx(1.00001, abs=3e-6)


def test_rankme_of_zeros_is_zero():
    assert rankme(np.zeros((4, 3))) == 0.0


def test_participation_ratio_of_isotropic_noise_is_as_expected():
    z = np.random.default_rng(0).normal(size=(500, 128))
    expected = 128 * 500 / (128 + 500)
    assert latent_geometry(z)["participation_ratio"] == pytest.approx(expected, rel=0.02)


def test_one_direction_holds_all_variance_of_collapsed_features():
    z = np.outer(np.arange(10.0), np.ones(5)) + 7
    geometry = latent_geometry(z)
    assert geometry["top_share"] == pytest.approx(1)
    assert geometry["effective_rank"] == pytest.approx(1)


def test_constant_features_are_counted_as_dead():
    z = np.random.default_rng(0).normal(size=(20, 4))
    z[:, 1:3] = 0.5
    assert latent_geometry(z)["dead"] == 2


def test_constant_images_have_no_spectrum():
    assert latent_geometry(np.ones((5, 3)))["effective_rank"] == 0.0
