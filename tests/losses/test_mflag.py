import pytest
import torch

from mflag.errors import InputError
from mflag.losses import AlignmentLoss, MFLAGLoss, OrthogonalityLoss


def batch():
    generator = torch.Generator().manual_seed(0)
    z_v, z_a, z_t = (torch.randn(4, n, generator=generator) for n in (9, 5, 5))
    return z_v.requires_grad_(), z_a.requires_grad_(), z_t


def test_the_total_is_the_weighted_sum_of_the_parts():
    orthogonality, alignment = OrthogonalityLoss.preset("paper"), AlignmentLoss(2.0)
    value = MFLAGLoss(orthogonality, alignment, 0.25, 3.0)(*batch())
    z_v, z_a, z_t = batch()
    assert value.orthogonality == orthogonality(z_v)
    assert value.alignment == alignment(z_a, z_t)
    assert value.total == 0.25 * value.orthogonality + 3.0 * value.alignment


def test_a_table_with_rows_equals_the_pairs():
    z_v, z_a, z_t = batch()
    rows = torch.tensor([3, 2, 1, 0])
    assert MFLAGLoss()(z_v, z_a, z_t.flip(0), rows).total == MFLAGLoss()(z_v, z_a, z_t).total


def test_both_latents_get_a_gradient():
    z_v, z_a, z_t = batch()
    MFLAGLoss()(z_v, z_a, z_t).total.backward()
    assert z_v.grad.abs().sum() > 0 and z_a.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["orthogonality_weight", "alignment_weight"])
def test_a_weight_that_is_no_number_is_refused(name):
    with pytest.raises(InputError, match=f"{name} is nan"):
        MFLAGLoss(None, None, **{name: float("nan")})


def test_an_alignment_factor_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="factor is nan"):
        AlignmentLoss(float("nan"))
