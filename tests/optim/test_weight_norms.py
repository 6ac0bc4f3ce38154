"""Carried weight norms: a write between steps, seen or unseen, never gives a wrong norm."""

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from mflag import backends
from mflag.errors import InputError
from mflag.optim import LARS
from mflag.optim.weight_norms import WeightNorms

NEEDS_TRITON = pytest.mark.skipif(
    backends()["triton"] is not True, reason=f"triton: {backends()['triton']}"
)
OPTIONS: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.01, "backend": "triton"}


class Net(torch.nn.Module):
    """Weights of three chunks, one chunk and one value."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        for name, shape in (("a", (3, 3000)), ("b", (13, 2)), ("c", ())):
            value = torch.randn(shape, generator=generator)
            self.register_parameter(name, torch.nn.Parameter(value))


def step(optimizer, number):
    for group in optimizer.param_groups:
        for i, p in enumerate(group["params"]):
            generator = torch.Generator().manual_seed(100 * number + i)
            p.grad = torch.randn(p.shape, generator=generator)
    optimizer.step()


def in_place(net, _):
    with torch.no_grad():
        net.a.mul_(1.5)


def through_data(net, _):
    net.a.data.mul_(3)


def one_value_through_data(net, _):
    net.a.data[0, 0] = 300


def another_storage(net, _):
    net.a.data = net.a.data * 2


def numpy_alias(net, _):
    net.b.detach().numpy()[3] = 7


def loaded(net, _):
    net.load_state_dict({name: 2 * value for name, value in net.state_dict().items()})


def swapped_with_average(net, _):
    def shrink(averages, _, __):
        for x in averages:
            x.mul_(0.3)

    average = AveragedModel(net, multi_avg_fn=shrink)
    average.update_parameters(net)
    average.update_parameters(net)
    with torch.no_grad():
        for own, other in zip(net.parameters(), average.module.parameters(), strict=True):
            own.copy_(other)


def fused_optimizer(net, _):
    torch.optim.SGD(net.parameters(), lr=0.5, fused=True).step()


def state_loaded(net, optimizer):
    optimizer.load_state_dict(optimizer.state_dict())
    net.a.data.mul_(3)


def group_added(net, optimizer):
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))]})
    net.a.data.mul_(3)


def half_precision_and_back(net, _):
    net.half().float()


SEEN = [in_place, another_storage, loaded, swapped_with_average, state_loaded, group_added]
UNSEEN = [through_data, one_value_through_data, numpy_alias, fused_optimizer]
RULES: dict[str, dict[str, Any]] = {
    "momentum": {},
    "nesterov": {"nesterov": True},
    "no momentum": {"momentum": 0.0},
    "dampening": {"dampening": 0.5},
    "clip": {"trust_clip": True, "zero_norm": "keep_decay", "adapt_without_decay": True},
    "inside": {"lr_in_momentum": True},
}


def run(write, rule=None, **options):
    """Weights and buffers after writes between steps; how many warnings; whether it carries on."""
    net = Net()
    optimizer = LARS(net.parameters(), **(OPTIONS | options | (rule or {})))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(5):
            step(optimizer, number)
            if number in (1, 2):
                write(net, optimizer)
    trips = [w for w in caught if "norms are not carried" in str(w.message)]
    state = [s["momentum_buffer"] for s in optimizer.state.values() if s]
    return [p.detach() for p in net.parameters()] + state, len(trips), optimizer._norms.is_on


def assert_close(a, b, rtol=1e-6):
    for x, y in zip(a, b, strict=True):
        assert (x - y).norm() <= rtol * y.norm(), x.shape


@NEEDS_TRITON
@pytest.mark.parametrize("write", SEEN)
def test_a_write_that_the_host_sees_voids_the_norm_before_the_step(write):
    after, trips, is_on = run(write, carry_weight_norms=True)
    expected, *_ = run(write)
    assert_close(after, expected, 1e-7)
    assert trips == 0 and is_on


@NEEDS_TRITON
@pytest.mark.parametrize("write", UNSEEN)
def test_a_write_that_the_host_cannot_see_gives_the_right_step_and_one_warning(write):
    after, trips, is_on = run(write, carry_weight_norms=True)
    expected, *_ = run(write)
    assert_close(after, expected)
    assert trips == 1 and not is_on


@NEEDS_TRITON
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_repaired_step_is_the_right_one_under_every_rule(rule):
    write = one_value_through_data  # the least that can be written; the other writes are above
    after, trips, _ = run(write, rule, carry_weight_norms=True)
    expected, *_ = run(write, rule)
    assert_close(after, expected, 3e-6)
    assert trips == 1


@NEEDS_TRITON
@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_a_value_that_is_not_finite_spreads_as_without_carried_norms(value):
    def write(net, _):
        net.a.data[2, 2999] = value

    after, trips, _ = run(write, carry_weight_norms=True)
    expected, *_ = run(write)
    for x, y in zip(after, expected, strict=True):
        assert torch.equal(x.isnan(), y.isnan())
    assert trips == 1


@NEEDS_TRITON
def test_a_new_storage_at_the_old_address_gives_the_right_step():
    after, *_ = run(half_precision_and_back, carry_weight_norms=True)
    expected, *_ = run(half_precision_and_back)
    assert_close(after, expected)


@NEEDS_TRITON
def test_undisturbed_steps_work_out_no_norm_after_the_first(monkeypatch):
    void = []
    sums_for = WeightNorms.sums_for

    def noted(self, p):
        sums = sums_for(self, p)
        void.append(bool(sums.isnan().any()))
        return sums

    monkeypatch.setattr(WeightNorms, "sums_for", noted)
    after, trips, is_on = run(lambda *_: None, carry_weight_norms=True)
    expected, *_ = run(lambda *_: None)
    assert_close(after, expected, 1e-7)
    assert (trips, is_on) == (0, True) and void == [True] * 3 + [False] * 12


@NEEDS_TRITON
def test_weights_repaired_after_nan_do_not_keep_a_norm_of_nan():
    net = Net()
    optimizer = LARS(net.parameters(), carry_weight_norms=True, **OPTIONS)
    weight = next(net.parameters())
    weight.data[0, 0] = torch.nan
    step(optimizer, 0)
    weight.data.fill_(1.0)
    optimizer.state[weight]["momentum_buffer"].zero_()
    step(optimizer, 1)
    assert weight.isfinite().all()


@NEEDS_TRITON
def test_a_step_that_found_inf_keeps_what_it_carries():
    results = []
    for carries in (False, True):
        net = Net()
        optimizer = LARS(net.parameters(), carry_weight_norms=carries, **OPTIONS)
        for number, found in enumerate((0.0, 1.0, 0.0)):
            in_place(net, None)
            optimizer.found_inf = torch.tensor(found)  # type: ignore[attr-defined]
            step(optimizer, number)
        assert optimizer._norms.is_on
        results.append([p.detach() for p in net.parameters()])
    assert_close(results[0], results[1], 1e-7)


@NEEDS_TRITON
def test_loading_a_state_does_not_switch_it_on_again():
    net = Net()
    optimizer = LARS(net.parameters(), carry_weight_norms=True, **OPTIONS)
    optimizer._norms.is_on = False
    optimizer.load_state_dict(optimizer.state_dict())
    assert not optimizer._norms.is_on


@NEEDS_TRITON
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_carries_nothing_over(clone):
    optimizer = LARS(Net().parameters(), carry_weight_norms=True, **OPTIONS)
    step(optimizer, 0)
    twin = clone(optimizer)
    assert twin.param_groups[0]["carry_weight_norms"] and not twin._norms._sums
    for o in (optimizer, twin):
        o.param_groups[0]["params"][0].data.mul_(3)
        step(o, 1)
    assert_close(*([p.detach() for p in o.param_groups[0]["params"]] for o in (twin, optimizer)))


@pytest.mark.parametrize("backend", [None, "reference", "foreach"])
def test_on_other_backends_it_changes_no_bit(backend):
    after, trips, _ = run(through_data, backend=backend, carry_weight_norms=True)
    expected, *_ = run(through_data, backend=backend)
    assert all(torch.equal(x, y) for x, y in zip(after, expected, strict=True)) and trips == 0


@pytest.mark.parametrize("norm", ["decayed", "momentum"])
def test_norms_that_need_the_weight_are_refused(norm):
    with pytest.raises(InputError, match=f"carry_weight_norms is True and norm '{norm}'"):
        LARS(Net().parameters(), lr=0.1, norm=norm, carry_weight_norms=True)


def test_it_is_not_written_to_the_file_and_stays_the_optimizers():
    optimizer = LARS(Net().parameters(), carry_weight_norms=True, lr=0.1)
    saved = optimizer.state_dict()
    assert "carry_weight_norms" not in saved["param_groups"][0]
    optimizer.load_state_dict(LARS(Net().parameters(), lr=0.1).state_dict())
    assert optimizer.param_groups[0]["carry_weight_norms"]
