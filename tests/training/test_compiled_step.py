"""The compiled step: one graph, compiled once, with the figures of the plain one."""

import dataclasses

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode

from mflag.config.compute import ComputeConfig
from mflag.config.feed import AugmentConfig
from mflag.config.loss import LossConfig
from mflag.config.optim import OptimConfig
from mflag.config.train import TrainConfig
from mflag.data.augment import draw_parameters
from mflag.data.feeds import Batch
from mflag.models.encoder import build_encoder
from mflag.models.grey_stem import find_grey_stem, to_one_channel
from mflag.models.projector import build_projector
from mflag.runtime.device import Compute, choose_compute
from mflag.training.model import PretrainingLoss
from mflag.training.optimizer import build_optimizer
from mflag.training.step import TrainingStep

B, STEPS = 4, 4
TEXT = torch.arange(B)


def eager(precision="bf16") -> Compute:
    return choose_compute(ComputeConfig(device="cpu", precision=precision))


def compiled(compiler) -> Compute:
    return dataclasses.replace(eager(), compiles=True, compiler=compiler)


class SmallEncoder(nn.Module):
    """What a step needs of an encoder, quick to compile."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(16)

    def forward(self, x):
        return self.bn1(self.conv1(x)).relu().mean(dim=(2, 3))


def build(compute, loss_config=None, *, micro=None, gaps=False, optim="lars", recorder=None,
          text_projector=None, arch="small"):  # fmt: skip
    torch.manual_seed(0)
    encoder = SmallEncoder() if arch == "small" else build_encoder(arch)
    encoder = to_one_channel(encoder).train()
    encoder.to(memory_format=torch.channels_last)
    table = nn.functional.normalize(torch.randn(B, 6)).half()
    share = loss_config or LossConfig(share_every=2)
    projector = build_projector("mlp", 16 if arch == "small" else 512, 8, 6)
    loss = PretrainingLoss(share, table, projector, text_projector).train()
    stem = find_grey_stem(encoder)
    optimizer = build_optimizer([encoder, loss], OptimConfig(name=optim), B, grey_stem=stem)
    config = TrainConfig()
    config.train.image_size, config.train.micro_batch_size = 32, micro
    step = TrainingStep(
        encoder, loss, optimizer, compute, config, has_gaps=gaps, recorder=recorder
    )
    return step, encoder, loss


def take(step, number, text_rows=TEXT):
    torch.manual_seed(number)
    images = torch.randint(0, 255, (B, 1, 64, 64), dtype=torch.uint8)
    drawn = draw_parameters(AugmentConfig(), 0, number, TEXT.numpy())
    return step.run(Batch(images, TEXT), drawn, text_rows, number)


class Graphs:
    """A compiler that runs what it gets, and counts."""

    def __init__(self):
        self.nodes = []

    def __call__(self, graph, inputs):
        self.nodes.append([str(node.target) for node in graph.graph.nodes])
        from torch._dynamo.backends.debugging import aot_eager

        return aot_eager(graph, inputs)


CASES = {
    "resnet18": ({"arch": "resnet18"}, 1),
    "fixed-weight": ({"loss_config": LossConfig(orthogonality_share=None, orthogonality_weight=0.5,
                                                share_every=2)}, 1),
    "texts-missing": ({"gaps": True}, 1),
    "adamw": ({"optim": "adamw"}, 1),
    "micro-batches": ({"micro": 2}, 2),  # embedded once without gradients, once with
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_one_graph_without_a_break_and_never_compiled_again(case):
    options, graphs = CASES[case]
    text_rows = torch.tensor([0, -1, 2, 3]) if options.get("gaps") else TEXT
    plain, plain_encoder, plain_loss = build(eager(), **options)
    torch._dynamo.reset()
    counters.clear()
    compiler = Graphs()
    step, encoder, loss = build(compiled(compiler), **options)
    for number in range(STEPS):
        found, expected = take(step, number, text_rows), take(plain, number, text_rows)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert len(compiler.nodes) == graphs  # all of them in the first step
        assert step.has_compiled == (number == 0)
    assert not counters["graph_break"]
    if graphs == 1:
        ours = [target for target in compiler.nodes[0] if target.startswith("mflag.")]
        assert sorted(ours) == ["mflag.alignment", "mflag.orthogonality"]
    torch.testing.assert_close(loss.measured_share, plain_loss.measured_share)
    assert float(loss.measured_share) > 0
    for mine, other in zip(encoder.parameters(), plain_encoder.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


def test_with_a_text_projection_and_texts_missing_the_encoder_alone_is_compiled():
    torch._dynamo.reset()
    compiler = Graphs()
    projection = build_projector("mlp_bn", 6, 8, 6)
    step, _, _ = build(compiled(compiler), gaps=True, text_projector=projection)
    for number, missing in enumerate((1, 2, 0)):
        rows = TEXT.clone()
        rows[:missing] = -1
        take(step, number, rows)
    assert len(compiler.nodes) == 1
    assert not any(target.startswith("mflag.") for target in compiler.nodes[0])


@pytest.mark.parametrize("gap", [[1], [0, 3], [0, 1, 2]])
def test_a_mask_gives_the_loss_and_gradient_of_the_images_that_have_a_text(gap):
    torch.manual_seed(0)
    table = nn.functional.normalize(torch.randn(B, 6))
    config = LossConfig(orthogonality_share=None, orthogonality_weight=0.0)
    loss = PretrainingLoss(config, table, nn.Linear(5, 6))
    z = torch.randn(B, 5)
    rows = TEXT.clone()
    rows[gap] = -1
    found = z.clone().requires_grad_()
    value = loss(found, rows, 0).total
    value.backward()
    kept = [i for i in range(B) if i not in gap]
    few = z[kept].requires_grad_()
    expected = loss.alignment(loss.projector(few), table[kept])
    expected.backward()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(found.grad[kept], few.grad)
    assert torch.equal(found.grad[gap], torch.zeros(len(gap), 5))


class Tape:
    """A recorder without a GPU: what is recorded runs again, with results in the same place."""

    warm_up_steps = 3

    def __init__(self):
        self.warm_ups, self.recorded, self.launched = 0, 0, 0

    def warm_up(self, work):
        self.warm_ups += 1
        return work()

    def record(self, work):
        self.recorded += 1
        results = []

        def launch():
            self.launched += 1
            fresh = work()
            if not results:
                results.extend(fresh)
            for place, value in zip(results, fresh, strict=True):
                place.copy_(value)

        return launch, results


@pytest.mark.parametrize("optim", ["adamw", "lars"])
def test_a_recorded_step_does_what_the_plain_one_does(optim):
    tape = Tape()
    plain, plain_encoder, _ = build(eager("fp32"), optim=optim)
    compute = dataclasses.replace(eager("fp32"), captures=True)
    step, encoder, loss = build(compute, optim=optim, recorder=tape)
    latents = []
    for number in range(6):
        found, expected = take(step, number), take(plain, number)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        latents.append((step.latents, step.latents.clone()))
        assert step.has_compiled == (number in (3, 4))  # without and with the measurement
    assert (tape.warm_ups, tape.recorded, tape.launched) == (3, 2, 3)
    assert loss.share.calls == 6
    assert all(torch.equal(kept, then) for kept, then in latents)  # no later step wrote over them
    for mine, other in zip(encoder.parameters(), plain_encoder.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
    assert all(isinstance(group["lr"], torch.Tensor) for group in step._optimizer.param_groups)


class Reads(TorchDispatchMode):
    """Counts how often Python asks for a tensor's value: on a GPU each one waits."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_reads_are_counted():
    with Reads() as reads:
        bool(torch.ones(()).isfinite())
        torch.ones(()).item()
    assert reads.count == 2


@pytest.mark.parametrize("micro", [None, 2])
@pytest.mark.parametrize("gaps", [False, True])
def test_a_step_never_reads_a_tensors_value(micro, gaps):
    step, _, _ = build(eager(), micro=micro, gaps=gaps, optim="adamw")
    with Reads() as reads:
        for number in range(2):
            take(step, number)
    assert reads.count == 0
