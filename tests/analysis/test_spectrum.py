import numpy as np
import pytest
import torch

from mflag.analysis.spectrum import (
    effective_rank,
    participation_ratio,
    rankme,
    singular_values,
    top_share,
)


def test_singular_values_are_those_of_the_svd():
    for shape in ((7, 5), (5, 7)):
        z = torch.randn(shape, dtype=torch.float64)
        torch.testing.assert_close(singular_values(z), torch.linalg.svdvals(z))


def test_rankme_of_an_identity_and_of_rank_one():
    assert rankme(singular_values(torch.eye(8))) == pytest.approx(8.000007, abs=1e-6)
    assert rankme(singular_values(torch.ones(8, 8))) == pytest.approx(1.00001, abs=1e-5)
    assert rankme(torch.zeros(3)) == 0


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_figures_of_singular_values_follow_their_formulas(shape):
    z = np.random.default_rng(0).normal(size=shape) @ np.diag(np.linspace(1, 3, shape[1]))
    sigma = np.linalg.svd(z, compute_uv=False)
    singular = singular_values(torch.from_numpy(z))
    p, energy = sigma / sigma.sum(), sigma**2
    assert rankme(singular) == pytest.approx(np.exp(-((p + 1e-7) * np.log(p + 1e-7)).sum()))
    assert effective_rank(singular) == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert participation_ratio(singular) == pytest.approx(energy.sum() ** 2 / (energy**2).sum())
    assert top_share(singular, 3) == pytest.approx(energy[:3].sum() / energy.sum())


def test_equal_directions_use_all_and_one_direction_uses_one():
    for figure in (effective_rank, participation_ratio):
        assert figure(torch.full((6,), 2.0)) == pytest.approx(6)
        assert figure(torch.tensor([3.0, 0, 0])) == pytest.approx(1)
        assert figure(torch.zeros(4)) == 0
