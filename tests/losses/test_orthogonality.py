import pytest
import torch

from mflag.errors import InputError
from mflag.losses import OrthogonalityLoss
from mflag.ops import orthogonality_loss
from tests.oracles.orthogonality import orthogonality


def latents(rows, columns, dtype=torch.float64):
    return torch.randn(rows, columns, dtype=dtype, generator=torch.Generator().manual_seed(0))


def test_defaults_are_the_standardized_form():
    z = latents(6, 9)
    torch.testing.assert_close(OrthogonalityLoss()(z), orthogonality(z), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "name, formula",
    [
        ("paper", {"norm": "sample", "scale": 1.0, "offdiag_weight": 1.0, "factor": 1.0}),
        ("authors", {"norm": "none"}),
        ("barlow", {"factor": 1.0}),
        ("recommended", {}),
    ],
)
def test_presets(name, formula):
    z = latents(6, 9)
    expected = orthogonality(z, **formula)
    torch.testing.assert_close(OrthogonalityLoss.preset(name)(z), expected, rtol=1e-12, atol=0)


def test_overrides_win_over_the_preset():
    loss = OrthogonalityLoss.preset("paper", factor=3.0, scale="batch")
    assert (loss.factor, loss.scale, loss.norm) == (3.0, "batch", "sample")


def test_a_numeric_scale_is_not_the_batch():
    z = latents(6, 9)
    assert OrthogonalityLoss(scale=6)(z) == OrthogonalityLoss(scale="batch")(z)
    assert OrthogonalityLoss(scale=3)(z) != OrthogonalityLoss(scale="batch")(z)


def test_it_has_no_state():
    assert not OrthogonalityLoss().state_dict()


def test_gather_without_a_process_group_is_the_plain_loss():
    z = latents(6, 9)
    assert OrthogonalityLoss(gather=True)(z) == orthogonality_loss(z)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"norm": "rows"}, "norm is 'rows'"),
        ({"scale": -1.0}, "scale is -1.0"),
        ({"scale": "rows"}, "scale is 'rows'"),
        ({"offdiag_weight": -0.1}, "offdiag_weight is -0.1"),
        ({"factor": float("inf")}, "factor is inf"),
        ({"precision": "half"}, "precision is 'half'"),
        ({"backend": "tpu"}, "backend 'tpu' is unknown"),
        ({"gradient_reduction": "max"}, "gradient_reduction is 'max'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_argument_is_refused_at_construction(wrong, message):
    with pytest.raises(InputError, match=message):
        OrthogonalityLoss(**wrong)


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(
        InputError, match="preset 'vicreg' is unknown; choose one of paper, authors"
    ):
        OrthogonalityLoss.preset("vicreg")
