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
from mflag.models.projector import build_projector
from mflag.models.text_encoder import load_text_encoder
from mflag.models.tokens import Tokens
from mflag.models.trained_text import TrainedText
from mflag.runtime.device import choose_compute
from mflag.training.model import PretrainingLoss
from mflag.training.batchnorm import keep_batchnorm_statistics
from mflag.training.step import TrainingStep, wrap_white
from tests.models.tiny_bert import write_bert

B, DIM = 8, 512


def batch():
    images = torch.randint(0, 255, (B, 1, 64, 64), dtype=torch.uint8)
    return Batch(images, torch.arange(B))


def one_step(
    micro_batch_size, loss_config=None, text_rows=None, text=None, text_projector=None, wraps=False
):
    """Gradients of one SGD step with BatchNorm in eval mode, by parameter name."""
    torch.manual_seed(0)
    encoder = build_encoder("resnet18").eval()
    projector = nn.Linear(DIM, 6)
    table = nn.functional.normalize(torch.randn(B, 6 if text is None else 32)).half()
    if text is not None and text_projector is None:
        projector = nn.Linear(DIM, 32)
    loss = PretrainingLoss(loss_config or LossConfig(), table, projector, text_projector)
    optimizer = torch.optim.SGD([*encoder.parameters(), *loss.parameters()], lr=0.0)
    config = TrainConfig()
    config.train.image_size = 32
    config.train.micro_batch_size = micro_batch_size
    config.data.wrap_bug = wraps
    compute = choose_compute(ComputeConfig(device="cpu", precision="fp32"))
    step = TrainingStep(encoder, loss, optimizer, compute, config, text)
    drawn = draw_parameters(AugmentConfig(), 0, 0, torch.arange(B).numpy())
    rows = torch.arange(B) if text_rows is None else text_rows
    losses = step.run(batch(), drawn, rows, 0)
    modules = {"encoder": encoder, "projector": projector}
    modules |= {} if text is None else {"text": text}
    modules |= {} if text_projector is None else {"text_projector": text_projector}
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


def build_text(folder):
    encoder = load_text_encoder(folder, "mean", 32)
    texts = ["the lungs are clear", "no effusion", "heart is enlarged . small nodule", "clear"]
    return TrainedText(encoder, Tokens(encoder, texts), last=1).train()


@pytest.mark.parametrize("projects", [False, True], ids=["text-itself", "text-projected"])
def test_micro_batches_with_trained_text_give_the_gradients_of_the_whole_batch(tmp_path, projects):
    folder = write_bert(tmp_path / "bert")
    rows = torch.tensor([0, 1, -1, 3, 2, 1, 0, 3])
    results = []
    for size in (None, 2):
        torch.manual_seed(1)
        projection = build_projector("mlp_bn", 32, 8, 6) if projects else None
        results.append(one_step(size, None, rows, build_text(folder), projection))
    (whole, expected, loss), (parts, gradients, _) = results
    torch.testing.assert_close(parts, whole)
    assert float(loss.measured_share) == pytest.approx(0.1, rel=1e-4)
    assert gradients.keys() == expected.keys()
    assert sum(name.startswith("text.") for name in gradients) == 16
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("count", [0, 1])
def test_a_text_projection_is_left_out_where_fewer_than_two_studies_have_text(count):
    rows = torch.full((B,), -1)
    rows[:count] = 0
    losses, _, _ = one_step(None, text_rows=rows, text_projector=build_projector("mlp_bn", 6, 8, 6))
    assert float(losses.alignment) == 0


def test_a_text_projection_trains_on_the_table():
    torch.manual_seed(1)
    projection = build_projector("mlp_bn", 6, 8, 6)
    losses, gradients, _ = one_step(None, text_projector=projection)
    reached = [name for name, value in gradients.items() if name.startswith("text_projector")]
    assert 0 < float(losses.alignment) < 4 and len(reached) == 6


def test_wrapping_turns_white_black_and_leaves_the_rest():
    white = torch.tensor([0, 100, 200, 254, 255], dtype=torch.uint8)
    assert wrap_white(white).tolist() == [0, 100, 200, 254, 0]


def test_wrapping_changes_what_the_encoder_sees(monkeypatch):
    images = torch.full((B, 1, 64, 64), 255, dtype=torch.uint8)
    images[:, :, :32] = 0
    monkeypatch.setattr(torch, "randint", lambda *_, **__: images)
    plain, wrapped = (one_step(None, wraps=wraps)[0] for wraps in (False, True))
    assert float(plain.orthogonality) != float(wrapped.orthogonality)


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
