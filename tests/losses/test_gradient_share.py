import pytest
import torch

from mflag.errors import InputError
from mflag.losses import GradientShare


def losses_of(latent, balanced_slope=4.0):
    """Two losses whose gradient norms are 2√n and balanced_slope·√n for n latents."""
    return 2 * latent.sum(), balanced_slope * latent.sum()


def test_the_first_call_sets_the_share_exactly():
    share = GradientShare(0.1)
    latent = torch.ones(3, 4, requires_grad=True)
    reference, balanced = losses_of(latent)
    total = share(reference, balanced, latent)
    assert share.weight.item() == pytest.approx(0.1 * 2 / 4)
    assert share.measured_share.item() == pytest.approx(0.1)
    assert total.item() == pytest.approx(2 * 12 + 0.05 * 4 * 12)


def test_later_measurements_are_smoothed():
    share = GradientShare(0.1, smoothing=0.9, every=1)
    latent = torch.ones(3, 4, requires_grad=True)
    share(*losses_of(latent), latent)
    share(*losses_of(latent, balanced_slope=1.0), latent)
    assert share.weight.item() == pytest.approx(0.9 * 0.05 + 0.1 * 0.2)
    assert share.measured_share.item() == pytest.approx((0.9 * 0.05 + 0.1 * 0.2) / 2)


def test_it_measures_every_so_many_calls():
    share = GradientShare(0.1, smoothing=0.0, every=3)
    latent = torch.ones(3, 4, requires_grad=True)
    weights = []
    for slope in (1.0, 2.0, 4.0, 8.0, 16.0):
        share(*losses_of(latent, slope), latent)
        weights.append(share.weight.item())
    assert weights == pytest.approx([0.2, 0.2, 0.2, 0.025, 0.025])


@pytest.mark.parametrize("slope", [0.0, float("nan"), float("inf")])
def test_a_zero_or_non_finite_norm_keeps_the_weight(slope):
    share = GradientShare(0.1, every=1)
    latent = torch.ones(3, 4, requires_grad=True)
    share(*losses_of(latent), latent)
    share.update(torch.ones(3), torch.full((3,), slope))
    assert share.weight.item() == pytest.approx(0.05)


def test_the_balanced_loss_waits_for_the_first_measurement():
    share = GradientShare(0.1, every=1)
    share.update(torch.zeros(3), torch.ones(3))
    assert share.weight == 0
    share.update(torch.ones(3), torch.ones(3))
    assert share.weight.item() == pytest.approx(0.1)


def test_the_gradient_of_the_total_has_the_wanted_share():
    share = GradientShare(0.25)
    latent = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    reference, balanced = latent.square().sum(), latent.pow(4).sum()
    total = share(reference, balanced, latent)
    (g,) = torch.autograd.grad(total, latent)
    difference = g - 2 * latent.detach()
    assert (difference.norm() / (2 * latent).norm()).item() == pytest.approx(0.25, rel=1e-5)


def test_evaluation_does_not_count():
    share = GradientShare(0.1)
    with torch.no_grad():
        share(torch.ones(()), torch.ones(()), torch.ones(3))
    assert share.calls == 0 and share.weight == 0


def test_the_state_dict_goes_on_where_it_stopped():
    latent = torch.ones(3, 4, requires_grad=True)
    share, resumed = GradientShare(0.1, every=3), GradientShare(0.1, every=3)
    for slope in (1.0, 2.0):
        share(*losses_of(latent, slope), latent)
    resumed.load_state_dict(share.state_dict())
    for slope in (3.0, 5.0):
        share(*losses_of(latent, slope), latent)
        resumed(*losses_of(latent, slope), latent)
    assert torch.equal(share.weight, resumed.weight)
    assert torch.equal(share.measured_share, resumed.measured_share)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"share": 0.0}, "share is 0.0"),
        ({"share": -1.0}, "share is -1.0"),
        ({"smoothing": 1.0}, "smoothing is 1.0"),
        ({"every": 0}, "every is 0"),
    ],
    ids=["zero", "negative", "smoothing", "every"],
)
def test_a_wrong_argument_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        GradientShare(**wrong)
