import pytest
import torch
from torch import nn

from mflag.config.compute import ComputeConfig
from mflag.config.feed import AugmentConfig
from mflag.config.loss import LossConfig
from mflag.config.train import TrainConfig
from mflag.data.augment import draw_parameters
from mflag.data.feeds import Batch
from mflag.models.encoder import build_encoder
from mflag.runtime.device import choose_compute
from mflag.training.model import PretrainingLoss
from mflag.training.step import TrainingStep, keep_batchnorm_statistics

B, DIM = 8, 512


def batch():
    images = torch.randint(0, 255, (B, 1, 64, 64), dtype=torch.uint8)
    return Batch(images, torch.arange(B))


def one_step(micro_batch_size, loss_config=None, text_rows=None):
    """Gradients of one SGD step with BatchNorm in eval mode, by parameter name."""
    torch.manual_seed(0)
    encoder = build_encoder("resnet18").eval()
    projector = nn.Linear(DIM, 6)
    table = nn.functional.normalize(torch.randn(B, 6)).half()
    loss = PretrainingLoss(loss_config or LossConfig(), table, projector)
    optimizer = torch.optim.SGD([*encoder.parameters(), *loss.parameters()], lr=0.0)
    config = TrainConfig()
    config.train.image_size = 32
    config.train.micro_batch_size = micro_batch_size
    compute = choose_compute(ComputeConfig(device="cpu", precision="fp32"))
    step = TrainingStep(encoder, loss, optimizer, compute, config)
    drawn = draw_parameters(AugmentConfig(), 0, 0, torch.arange(B).numpy())
    rows = torch.arange(B) if text_rows is None else text_rows
    losses = step.run(batch(), drawn, rows, 0)
    modules = {"encoder": encoder, "projector": projector}
    gradients = {
        f"{name}.{key}": value.grad.clone()
        for name, module in modules.items()
        for key, value in module.named_parameters()
        if value.grad is not None
    }
    return losses, gradients, loss


def test_micro_batches_give_the_gradients_of_the_whole_batch():
    whole, expected, _ = one_step(None)
    parts, gradients, _ = one_step(2)
    torch.testing.assert_close(parts, whole)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5, msg=name)


def test_share_holds_at_the_first_step():
    _, _, loss = one_step(None)
    assert float(loss.measured_share) == pytest.approx(0.1, rel=1e-4)


def test_a_fixed_weight_is_measured_too():
    config = LossConfig(orthogonality_share=None, orthogonality_weight=0.5)
    losses, _, loss = one_step(None, config)
    assert float(losses.total) == pytest.approx(
        float(losses.alignment + 0.5 * losses.orthogonality)
    )
    assert float(loss.measured_share) > 0


def test_studies_without_text_vector_are_left_out_of_alignment_only():
    rows = torch.tensor([0, 1, -1, 3, 4, 5, -1, 7])
    some, _, _ = one_step(None, text_rows=rows)
    every, _, _ = one_step(None)
    assert float(some.orthogonality) == float(every.orthogonality)
    assert float(some.alignment) != float(every.alignment)


def test_without_any_text_vector_alignment_is_zero():
    losses, _, _ = one_step(None, text_rows=torch.full((B,), -1))
    assert float(losses.alignment) == 0


def test_keeping_batchnorm_statistics_still_normalises_by_the_batch():
    layer = nn.BatchNorm1d(3)
    x = torch.randn(16, 3) * 5 + 2
    with keep_batchnorm_statistics(layer), torch.no_grad():
        y = layer(x)
    assert float(y.mean().abs()) < 1e-5
    assert layer.running_mean is not None
    assert torch.equal(layer.running_mean, torch.zeros(3)) and layer.num_batches_tracked == 0
