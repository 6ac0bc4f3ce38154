"""Runs that change between our class and those of timm and lightly, live and by state dict."""

from typing import Any

import pytest
import torch
from lightly.utils.lars import LARS as LightlyLARS
from timm.optim.lars import Lars as TimmLars

import mflag
from mflag.errors import InputError
from mflag.optim import LARS

BACKENDS = [name for name in ("reference", "cpu") if mflag.backends()[name] is True]
SHAPES = [(6, 4), (4,), (3, 4, 3, 3), (300, 301)]
OPTIONS: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
PEERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "timm": (TimmLars, {}),
    "timm-foreach": (TimmLars, {"foreach": True}),
    "timm-clip": (TimmLars, {"trust_clip": True}),
    "timm-always_adapt": (TimmLars, {"always_adapt": True, "weight_decay": 0.0}),
    "timm-dampening": (TimmLars, {"dampening": 0.5}),
    "timm-nesterov": (TimmLars, {"nesterov": True}),
    "timm-sgd": (TimmLars, {"weight_decay": 0.0}),
    "lightly": (LightlyLARS, {}),
    "lightly-nesterov": (LightlyLARS, {"nesterov": True}),
    "lightly-dampening": (LightlyLARS, {"dampening": 0.5}),
    "lightly-sgd": (LightlyLARS, {"weight_decay": 0.0}),
}


def make_params():
    generator = torch.Generator().manual_seed(0)
    return [
        torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
        for shape in SHAPES
    ]


def train(optimizer, params, steps):
    for step in steps:
        generator = torch.Generator().manual_seed(100 + step)
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64)
        optimizer.step()


def ours_for(name, params, options, backend=None):
    chosen = {key: value for key, value in options.items() if key != "foreach"}
    return LARS.preset(name.split("-")[0], params, backend=backend, **chosen)


def assert_close(a, b):
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PEERS)
def test_twenty_steps_equal_the_live_class(name, backend):
    peer, extra = PEERS[name]
    options = OPTIONS | extra
    ours, theirs = make_params(), make_params()
    train(ours_for(name, ours, options, backend), ours, range(20))
    train(peer(theirs, **options), theirs, range(20))
    assert_close(ours, theirs)


@pytest.mark.parametrize("name", PEERS)
def test_their_run_goes_on_in_ours_and_back(name):
    peer, extra = PEERS[name]
    options = OPTIONS | extra
    whole, switched = make_params(), make_params()
    train(peer(whole, **options), whole, range(9))

    first = peer(switched, **options)
    train(first, switched, range(3))
    second = ours_for(name, switched, options)
    second.load_state_dict(first.state_dict())
    train(second, switched, range(3, 6))
    third = peer(switched, **options)
    third.load_state_dict(second.state_dict())
    train(third, switched, range(6, 9))
    assert_close(switched, whole)


@pytest.mark.parametrize("name", PEERS)
def test_hyper_parameters_come_from_their_file(name):
    peer, extra = PEERS[name]
    saved = peer(make_params(), **OPTIONS | extra).state_dict()
    optimizer = LARS.preset(name.split("-")[0], make_params(), lr=5.0)
    optimizer.load_state_dict(saved)
    group = optimizer.param_groups[0]
    expected = {"dampening": 0.0, "nesterov": False} | OPTIONS | extra
    assert {k: group[k] for k in expected if k in group} == {
        k: v for k, v in expected.items() if k in group
    }


@pytest.mark.parametrize(
    "source, target, key", [("fair", "timm", "momentum_buffer"), ("timm", "authors", "mu")]
)
def test_a_buffer_is_taken_under_either_key(source, target, key):
    params = make_params()
    first = LARS.preset(source, params, **OPTIONS)
    train(first, params, range(2))
    second = LARS.preset(target, params, lr=0.1)
    second.load_state_dict(first.state_dict())
    (old,) = first.state[params[0]].values()
    assert list(second.state[params[0]]) == [key]
    assert torch.equal(second.state[params[0]][key], old)


def test_the_variant_stays_the_optimizers():
    params = make_params()
    saved = LARS.preset("timm", params, lr=0.3, trust_clip=True).state_dict()
    optimizer = LARS.preset("authors", params, lr=0.1)
    optimizer.load_state_dict(saved)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["norm"], group["eps"], group["trust_clip"]) == (
        0.3,
        "decayed",
        0.0,
        False,
    )


def test_momentum_with_the_learning_rate_inside_is_refused_unless_converted():
    params = make_params()
    first = LARS.preset("timm", params, **OPTIONS)
    train(first, params, range(2))
    with pytest.raises(InputError, match="saved momentum has lr_in_momentum=False"):
        LARS.preset("paper2017", params, **OPTIONS).load_state_dict(first.state_dict())


@pytest.mark.parametrize("source, target", [("timm", "paper2017"), ("paper2017", "timm")])
def test_conversion_by_the_learning_rate_is_exact_while_it_is_constant(source, target):
    def steps(optimizer, params, rounds):
        for step in rounds:
            for p in params:
                p.grad = torch.full_like(p, 0.1 * (1 + step))
            optimizer.step()

    options = OPTIONS | {"eps": 0.0}
    whole, switched = make_params(), make_params()
    steps(LARS.preset(source, whole, **options), whole, range(6))
    first = LARS.preset(source, switched, **options)
    steps(first, switched, range(3))
    second = LARS.preset(target, switched, **options)
    second.load_state_dict(first.state_dict(), convert="lr")
    steps(second, switched, range(3, 6))
    assert_close(switched, whole)


def test_momentum_of_another_norm_is_refused():
    params = make_params()
    first = LARS.preset("lamb_paper", params, **OPTIONS)
    train(first, params, range(1))
    with pytest.raises(InputError, match="saved momentum is of norm='momentum'"):
        LARS.preset("timm", params, **OPTIONS).load_state_dict(first.state_dict(), convert="lr")


def test_another_number_of_groups_is_named():
    saved = LARS([{"params": make_params()[:1]}, {"params": make_params()[1:]}], lr=1).state_dict()
    with pytest.raises(ValueError, match="the state has 2 parameter groups; this optimizer has 1"):
        LARS(make_params(), lr=1).load_state_dict(saved)


def test_a_forced_backend_is_not_written_to_the_file():
    saved = LARS(make_params(), lr=0.1, backend="reference").state_dict()
    assert "backend" not in saved["param_groups"][0]
