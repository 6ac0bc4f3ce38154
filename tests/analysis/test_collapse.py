import pytest
import torch

from mflag.analysis.collapse import collapse_figures


def test_figures_of_independent_dimensions():
    torch.manual_seed(0)
    figures = collapse_figures(torch.randn(4096, 16))
    assert figures["effective_rank"] > 15.9 and figures["effective_rank_cap"] == 16
    assert figures["offdiag_mean"] < 0.02
    assert figures["dimension_std"] == pytest.approx(1, abs=0.05)


def test_figures_of_a_collapsed_latent():
    line = torch.linspace(1, 2, 64)[:, None] * torch.ones(1, 16)
    figures = collapse_figures(line)
    assert figures["effective_rank"] < 1.001
    assert figures["top_singular_share"] == pytest.approx(1)
    assert figures["offdiag_mean"] == pytest.approx(1, abs=1e-4)
    assert figures["dimension_std"] < 1e-3


def test_constant_dimensions_do_not_make_nan():
    figures = collapse_figures(torch.ones(8, 4))
    assert all(value == value for value in figures.values())
