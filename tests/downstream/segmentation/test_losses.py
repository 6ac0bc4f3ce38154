import pytest
import torch
from torch.nn import functional

from mflag.downstream.segmentation.losses import LOSSES, focal, focal_dice, soft_dice


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 9, 9, generator=generator, dtype=torch.float64)
    return logits, (torch.rand(2, 9, 9, generator=generator) < 0.3).double()


def test_focal_loss_is_its_formula(batch):
    logits, truth = batch
    p = torch.sigmoid(logits)
    p_t = torch.where(truth == 1, p, 1 - p)
    torch.testing.assert_close(focal(logits, truth), (-((1 - p_t) ** 2) * p_t.log()).mean())


def test_mixed_loss_equals_the_published_form(batch):
    """MGCA and GLoRIA write the cross-entropy and the factor by log-sigmoids."""
    logits, truth = batch
    inverse = functional.logsigmoid(-logits * (2 * truth - 1))
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    p = torch.sigmoid(logits)
    dice = (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1)
    published = 10 * ((2 * inverse).exp() * entropy).mean() - dice.log()
    torch.testing.assert_close(focal_dice(logits, truth), published)


def test_soft_dice_of_the_truth_is_1(batch):
    _, truth = batch
    assert float(soft_dice(200 * (truth - 0.5), truth)) == pytest.approx(1)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("confidence", [-1e4, 1e4])
def test_loss_and_gradient_stay_finite_for_certain_logits_and_empty_masks(name, confidence):
    logits = torch.full((1, 4, 4), confidence, requires_grad=True)
    loss = LOSSES[name](logits, torch.zeros(1, 4, 4))
    assert loss.isfinite()
    assert (
        torch.autograd.grad(LOSSES[name](logits, torch.zeros(1, 4, 4)), logits)[0].isfinite().all()
    )
