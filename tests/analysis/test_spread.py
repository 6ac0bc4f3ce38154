import numpy as np
import pytest
import torch

from mflag.analysis.spread import alignment, dimension_std, offdiagonal_correlation, uniformity


def unit_rows(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def test_uniformity_is_the_log_mean_over_all_pairs():
    z = np.random.default_rng(0).normal(size=(700, 5))  # more than one block
    unit = unit_rows(z)
    squares = ((unit[:, None] - unit[None]) ** 2).sum(2)
    pairs = np.exp(-2 * squares)[~np.eye(len(z), dtype=bool)]
    assert uniformity(torch.from_numpy(z)) == pytest.approx(np.log(pairs.mean()), rel=1e-9)


def test_uniformity_of_equal_rows_is_zero_and_of_a_sphere_near_minus_four():
    assert uniformity(torch.ones(9, 4)) == pytest.approx(0, abs=1e-12)
    sphere = torch.from_numpy(np.random.default_rng(1).normal(size=(600, 256)))
    assert uniformity(sphere) == pytest.approx(-4, abs=0.05)


def test_alignment_of_pairs():
    a = torch.from_numpy(np.random.default_rng(2).normal(size=(30, 8)))
    b = torch.from_numpy(np.random.default_rng(3).normal(size=(30, 8)))
    expected = ((unit_rows(a.numpy()) - unit_rows(b.numpy())) ** 2).sum(1).mean()
    assert alignment(a, b) == pytest.approx(expected, rel=1e-12)
    assert alignment(a, 3 * a) == pytest.approx(0, abs=1e-12)
    assert alignment(a, -a) == pytest.approx(4)


def test_dimension_std_is_one_for_isotropic_and_zero_for_constant_dimensions():
    z = torch.from_numpy(np.random.default_rng(4).normal(size=(4000, 64)))
    assert dimension_std(z).numpy() == pytest.approx(1, abs=0.06)
    line = torch.ones(10, 3)
    assert dimension_std(line).numpy() == pytest.approx(0, abs=1e-7)


def test_offdiagonal_correlation_is_the_mean_of_the_matrix_without_its_diagonal():
    z = np.random.default_rng(5).normal(size=(50, 6))
    z[:, 1] += z[:, 0]
    matrix = np.abs(np.corrcoef(z.T))
    expected = matrix[~np.eye(6, dtype=bool)].mean()
    assert offdiagonal_correlation(torch.from_numpy(z)) == pytest.approx(expected)
    z = np.column_stack([z, np.full(50, 2.0)])  # a dead dimension has no correlation
    assert offdiagonal_correlation(torch.from_numpy(z)) == pytest.approx(expected)


def test_offdiagonal_correlation_of_one_varying_dimension_is_zero():
    assert offdiagonal_correlation(torch.tensor([[1.0, 2], [1, 3], [1, 5]])) == 0
