"""The parts that several processes are made of: equal to one process, to float64 rounding."""

import copy
import signal
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from mflag.config.compute import ComputeConfig
from mflag.config.feed import AugmentConfig
from mflag.config.loss import LossConfig
from mflag.config.train import TrainConfig
from mflag.data.augment import draw_parameters
from mflag.data.feeds import Batch
from mflag.distributed import (
    StopAgreement,
    average_gradients,
    gather_over_ranks,
    read_ranks,
    synchronise_batchnorm,
)
from mflag.distributed.differences import first_difference
from mflag.errors import InputError
from mflag.runtime.device import choose_compute
from mflag.training.model import PretrainingLoss
from mflag.training.step import TrainingStep
from tests.distributed.processes import results

CPU = torch.device("cpu")
ROWS = 8  # of all processes together
STEPS = 3
CASES: dict[str, dict[str, Any]] = {
    "share": {},
    "share-micro-batches": {"micro": 2},
    "fixed-weight": {"loss": {"orthogonality_share": None, "orthogonality_weight": 0.5}},
    "gaps": {"rows": (0, -1, 2, 3, -1, -1, 6, 7)},
    "gaps-micro-batches": {"micro": 2, "rows": (-1, 1, 2, 3, -1, -1, 6, 7)},
    "a-rank-without-text": {"rows": (0, 1, 2, 3, -1, -1, -1, -1)},
}


def connect(rank, count):
    """A default group of the processes."""
    if count > 1:
        dist.init_process_group("gloo", rank=rank, world_size=count)


def steps(rank, count, micro=None, rows=tuple(range(ROWS)), loss=None):
    """Weights after a few steps of SGD without BatchNorm, on this rank's part of the batch."""
    connect(rank, count)
    torch.manual_seed(0)
    encoder = nn.Sequential()
    encoder.add_module("conv1", nn.Conv2d(3, 6, 3, stride=4))
    encoder.append(nn.Tanh()).append(nn.AdaptiveAvgPool2d(4)).append(nn.Flatten())
    projector = nn.Linear(96, 5)
    table = nn.functional.normalize(torch.randn(ROWS, 5)).half()
    module = PretrainingLoss(LossConfig(**(loss or {})), table, projector)
    config = TrainConfig()
    config.train.image_size = 32
    config.train.batch_size = ROWS // count
    config.train.micro_batch_size = micro
    share = ROWS // count
    own = slice(rank * share, (rank + 1) * share)
    rows = torch.tensor(rows)
    has_gaps = bool((rows < 0).any())
    text_share = torch.ones(())
    if has_gaps:
        module.text_share = text_share
    optimizer = torch.optim.SGD([*encoder.parameters(), *module.parameters()], lr=0.1, momentum=0.9)
    compute = choose_compute(ComputeConfig(device="cpu", precision="fp32"))
    step = TrainingStep(encoder, module, optimizer, compute, config)
    if has_gaps:
        mean = int((rows >= 0).sum()) / count
        text_share.fill_(int((rows[own] >= 0).sum()) / mean)
    images = torch.randint(0, 255, (ROWS, 1, 64, 64), dtype=torch.uint8)
    losses = []
    for number in range(STEPS):
        drawn = draw_parameters(AugmentConfig(), 0, number, torch.arange(ROWS)[own].numpy())
        batch = Batch(images[own], torch.arange(ROWS)[own])
        found = step.run(batch, drawn, rows[own], number)
        losses.append(gather_over_ranks(torch.stack(list(found))).mean(0).tolist())
    weights = {**encoder.state_dict(), **projector.state_dict(prefix="p.")}
    return losses, {name: value.tolist() for name, value in weights.items()}, module.weight.item()


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CASES)
def test_steps_on_ranks_are_those_of_one_process(tmp_path, case, count):
    arguments = CASES[case]
    losses, weights, weight = steps(0, 1, **arguments)
    for ours in results(_steps, count, tmp_path, count, arguments):
        torch.testing.assert_close(ours[0], losses, rtol=2e-5, atol=1e-6)
        assert ours[2] == pytest.approx(weight, rel=1e-5)
        for name, value in weights.items():
            torch.testing.assert_close(
                torch.tensor(ours[1][name]), torch.tensor(value), rtol=1e-4, atol=2e-6
            )


def _steps(rank, count, arguments):
    return steps(rank, count, **arguments)


def normalised(rank, count, rows, eval_mode):
    """Output, statistics and gradients of BatchNorm on this rank's rows, float64."""
    connect(rank, count)
    torch.manual_seed(1)
    x = torch.randn(sum(rows), 3, 2, 2, dtype=torch.float64) * 3 + 1
    factor = torch.randn_like(x)
    norm = nn.BatchNorm2d(3).double()
    nn.init.normal_(norm.weight)
    layers: Any = nn.Sequential(norm)
    if eval_mode:
        layers.eval()
    if count > 1:
        layers = synchronise_batchnorm(copy.deepcopy(layers), CPU)
    start = sum(rows[:rank])
    own = slice(start, start + rows[rank]) if count > 1 else slice(None)
    mine = x[own].requires_grad_()
    output = layers(mine)
    (output * factor[own]).sum().backward()
    buffers = {name: value.tolist() for name, value in layers.named_buffers()}
    return output.detach(), mine.grad, layers[0].weight.grad, buffers


@pytest.mark.parametrize("rows", [(4, 4), (5, 2), (3, 1, 2, 2)], ids=str)
def test_batchnorm_over_ranks_is_that_of_the_joined_batch(tmp_path, rows):
    output, gradient, weight, buffers = normalised(0, 1, rows, False)
    found = results(normalised, len(rows), tmp_path, len(rows), rows, False)
    close: dict[str, Any] = {"rtol": 1e-11, "atol": 1e-12}
    torch.testing.assert_close(torch.cat([f[0] for f in found]), output, **close)
    torch.testing.assert_close(torch.cat([f[1] for f in found]), gradient, **close)
    torch.testing.assert_close(sum(f[2] for f in found), weight, **close)
    for *_, ours in found:
        assert ours.keys() == buffers.keys()
        for name, value in buffers.items():
            torch.testing.assert_close(torch.tensor(ours[name]), torch.tensor(value), **close)


def averaged(rank, count):
    """Gradients of several sizes, layouts and one that is missing, averaged in small buckets."""
    connect(rank, count)
    module = nn.ModuleList([nn.Conv2d(2, 3, 3), nn.Linear(4, 2), nn.Linear(2, 2)])
    module[0].to(memory_format=torch.channels_last)
    for number, parameter in enumerate(module.parameters()):
        if number != 2 + rank:
            parameter.grad = torch.full_like(parameter, 1.0 + rank * 2 + number)
    average_gradients(module, 1e-5)
    gradients = [parameter.grad for parameter in module.parameters()]
    return [gradient.unique().tolist() for gradient in gradients if gradient is not None]


def test_gradients_are_averaged_and_a_missing_one_is_zero(tmp_path):
    for ours in results(averaged, 2, tmp_path, 2):
        assert ours == [[2.0], [3.0], [2.5], [2.0], [6.0], [7.0]]


def stopped(rank, count):
    connect(rank, count)
    agreement = StopAgreement()
    received = [None, signal.SIGTERM, None, None]
    heard = [agreement.ask(received[step] if rank == 1 else None) for step in range(4)]
    agreement.close()
    return heard


def test_every_rank_hears_of_a_signal_at_the_same_step(tmp_path):
    for heard in results(stopped, 2, tmp_path, 2):
        assert heard == [None, None, signal.SIGTERM, None]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "2"}, "RANK, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR"),
        ({"WORLD_SIZE": "zero"}, "WORLD_SIZE is 'zero'"),
        ({"WORLD_SIZE": "2", "RANK": "2"} | dict.fromkeys(
            ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"), "1"
        ), "RANK is '2'; torchrun sets it to 0 to 1"),
    ],
)  # fmt: skip
def test_an_environment_that_torchrun_did_not_set_is_refused(environment, message):
    with pytest.raises(InputError, match=message.split(",")[0]):
        read_ranks(environment)


def test_one_process_needs_no_environment():
    assert read_ranks({}).is_alone and read_ranks({"WORLD_SIZE": "1", "RANK": "0"}).is_alone


def test_a_difference_is_named_with_both_values():
    text = first_difference({"a": 1, "b": 2}, {"a": 1, "b": 3}, 4)
    assert text.startswith("the ranks differ: b is 2 on rank 0 and 3 on rank 4")
    assert not first_difference({"a": 1}, {"a": 1}, 1)
