import math

import pytest
import torch

from mflag.errors import InputError
from mflag.optim import learning_rate_factor, set_learning_rate


@pytest.mark.parametrize(
    "step, kind, factor",
    [
        (0, "cosine", 0.1),
        (9, "cosine", 1.0),
        (10, "cosine", 1.0),
        (60, "cosine", 0.55),
        (110, "cosine", 0.1),
        (1000, "cosine", 0.1),
        (4, "constant", 0.5),
        (10, "constant", 1.0),
        (1000, "constant", 1.0),
    ],
)
def test_warm_up_is_linear_then_the_kind_follows(step, kind, factor):
    got = learning_rate_factor(step, 110, warmup_steps=10, kind=kind, min_factor=0.1)
    assert got == pytest.approx(factor, rel=1e-12)


def test_cosine_without_warm_up_equals_torch():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.25)
    expected = []
    for _ in range(50):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    ours = [learning_rate_factor(step, 50, min_factor=0.25) for step in range(50)]
    assert ours == pytest.approx(expected, rel=1e-9)


def test_restarts_equal_torch_over_three_periods():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    restarts = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts
    scheduler = restarts(optimizer, T_0=7, eta_min=1e-3)
    expected = []
    for _ in range(21):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    ours = [learning_rate_factor(s, 7, 0, "cosine_restarts", 1e-3) for s in range(21)]
    assert ours == pytest.approx(expected, rel=1e-12)


def test_a_run_of_warm_up_alone_ends_at_one():
    assert learning_rate_factor(9, 10, warmup_steps=10) == 1.0


@pytest.mark.parametrize("kind", ["constant", "cosine", "cosine_restarts"])
def test_factors_lie_between_zero_and_one(kind):
    warmup = 0 if kind == "cosine_restarts" else 3
    factors = [learning_rate_factor(s, 17, warmup, kind) for s in range(40)]
    assert all(0 <= f <= 1 and math.isfinite(f) for f in factors)


def test_each_group_keeps_its_own_initial_rate():
    groups = [
        {"params": [torch.zeros(1)], "lr": 0.2},
        {"params": [torch.zeros(1)], "lr": torch.tensor(0.5)},
    ]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    tensor_lr = optimizer.param_groups[1]["lr"]
    for factor in (0.5, 0.25):
        set_learning_rate(optimizer, factor)
    assert optimizer.param_groups[0]["lr"] == 0.05
    assert optimizer.param_groups[1]["lr"] is tensor_lr and tensor_lr == 0.125


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((-1, 10), "step is -1; give 0 or more"),
        ((0, 0), "total_steps is 0; give 1 or more"),
        ((0, 10, 11), "warmup_steps is 11; give 0 to 10"),
        ((0, 10, 0, "step"), "schedule kind is 'step'; choose one of constant, cosine"),
        ((0, 10, 0, "cosine", 1.5), "min_factor is 1.5; give 0 to 1"),
        ((0, 10, 1, "cosine_restarts"), "warmup_steps is 1; cosine_restarts has none"),
    ],
)
def test_wrong_values_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        learning_rate_factor(*arguments)
