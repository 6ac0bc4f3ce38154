import numpy as np
import pytest
from sklearn.decomposition import PCA

from mflag.analysis.projection import principal_components


def test_components_are_those_of_scikit_learn_up_to_their_sign():
    z = np.random.default_rng(0).normal(size=(80, 10)) * np.arange(1, 11)
    found, pca = principal_components(z), PCA(3)
    expected = pca.fit_transform(z)
    assert np.abs(found.coordinates) == pytest.approx(np.abs(expected), abs=1e-8)
    assert found.shares == pytest.approx(pca.explained_variance_ratio_)


def test_signs_do_not_depend_on_the_order_of_images():
    z = np.random.default_rng(1).normal(size=(40, 6)) * np.arange(1, 7)
    a, b = principal_components(z), principal_components(z[::-1])
    assert a.coordinates == pytest.approx(b.coordinates[::-1])


@pytest.mark.parametrize("z", [np.ones((5, 4)), np.arange(8.0).reshape(4, 2)])
def test_missing_directions_are_zero(z):
    found = principal_components(z)
    assert found.coordinates.shape == (len(z), 3)
    assert np.isfinite(found.coordinates).all()
    assert found.shares[2] == 0
    assert found.coordinates[:, 2] == pytest.approx(0)
