import numpy as np
import pytest

from mflag.analysis.geometry import latent_geometry, log10_spectrum


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize(("n", "dimensions"), [(2000, 512), (500, 128)])
def test_participation_ratio_of_isotropic_noise_is_as_expected(n, dimensions):
    expected = dimensions * n / (dimensions + n)
    found = latent_geometry(noise(n, dimensions))
    assert found["participation_ratio"] == pytest.approx(expected, rel=0.02)
    assert found["rank_cap"] == dimensions


def test_one_direction_holds_all_variance_of_collapsed_features():
    z = np.outer(np.arange(10.0), np.ones(5)) + 7
    geometry = latent_geometry(z)
    assert geometry["top_share"] == geometry["top_10_share"] == pytest.approx(1)
    assert geometry["effective_rank_centred"] == pytest.approx(1, abs=1e-5)
    assert geometry["offdiag_mean"] == pytest.approx(1)


def test_constant_and_quiet_features_are_counted():
    z = noise(20, 4)
    z[:, 1:3] = 0.5
    assert latent_geometry(z)["dead"] == 2
    z[0, 1] += 1e-6
    z[:, 2] = 0
    geometry = latent_geometry(z)
    assert geometry["dead"] == 1
    assert geometry["quiet_share"] == 0.25  # only the zero: a constant varies in unit rows
    assert geometry["dimension_std"]["min"] == 0


@pytest.mark.parametrize("value", [1.0, 0.1])
def test_equal_images_have_no_spectrum(value):
    geometry = latent_geometry(np.full((5, 3), value))
    assert geometry["effective_rank_centred"] == geometry["participation_ratio"] == 0
    assert geometry["uniformity"] == pytest.approx(0, abs=1e-12)
    assert geometry["dead"] == 3
    assert log10_spectrum(geometry) == [None] * 3


def test_the_log_spectrum_is_that_of_the_covariance():
    z = noise(60, 5) * [1, 2, 3, 4, 1e-9]
    values = np.linalg.svd(np.cov(z.T, bias=True), compute_uv=False)
    found = log10_spectrum(latent_geometry(z))
    assert found[:4] == pytest.approx(np.log10(values[:4]), abs=1e-3)
    assert found[4] is None  # below the rounding of float32


def test_ranks_of_few_images_are_capped_by_their_number():
    geometry = latent_geometry(noise(8, 100))
    assert geometry["rank_cap"] == 8
    assert geometry["effective_rank_centred"] < 7.01
