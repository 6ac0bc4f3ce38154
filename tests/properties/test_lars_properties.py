"""Laws of the LARS step that hold for every tensor and every preset, on every backend."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mflag.ops import lars_step_
from mflag.ops.lars_rule import LarsRule
from mflag.optim import LARS
from mflag.optim.lars_presets import PRESETS
from tests.properties.cases import backends_of, dtypes, normal, property_settings, seeds

on_every_backend = pytest.mark.parametrize(
    "backend",
    backends_of(lambda n: lars_step_(*([torch.ones(2)] for _ in range(3)), lr=0.1, backend=n)),
)
on_every_preset = pytest.mark.parametrize("preset", PRESETS)
# 0-d, empty, of one and of several chunks, and larger than a task's block of 65,536.
shapes = st.lists(
    st.sampled_from([(), (0,), (3,), (1, 2), (5, 7), (3, 4, 3, 3), (16_385,), (3, 30_001)]),
    min_size=1,
    max_size=4,
)
learning_rates = st.sampled_from([0.1, 1e-3, 2.0])


def rule_of(preset: str, **options: Any) -> dict[str, Any]:
    return {k: v for k, v in (PRESETS[preset] | options).items() if k in LarsRule.__annotations__}


def lists_of(shapes, seed, dtype=torch.float32):
    """Weights, gradients and momentum buffers."""
    n = len(shapes)
    return [
        [normal(shape, seed + list_ * n + i, dtype) for i, shape in enumerate(shapes)]
        for list_ in range(3)
    ]


def stepped(lists, rule, backend, lr=0.1, **scalars):
    """Copies of weights and buffers after a step."""
    w, g, m = ([x.clone() for x in tensors] for tensors in lists)
    lars_step_(w, g, m, lr=lr, backend=backend, **rule, **scalars)
    return w, m


def bits(*lists):
    return [[x.numpy().tobytes() for x in tensors] for tensors in lists]


@on_every_backend
@on_every_preset
@property_settings
@given(shapes, dtypes, seeds, st.sampled_from([0.0, 0.01]))
def test_no_learning_rate_moves_no_weight(backend, preset, shapes, dtype, seed, decay):
    lists = lists_of(shapes, seed, dtype)
    rule = rule_of(preset, weight_decay=decay)
    if rule.get("lr_in_momentum"):  # then the buffer remembers earlier rates
        lists[2] = [torch.zeros_like(x) for x in lists[2]]
    w, _ = stepped(lists, rule, backend, lr=0.0)
    assert all(torch.equal(*pair) for pair in zip(w, lists[0], strict=True))


@on_every_backend
@on_every_preset
@property_settings
@given(shapes, dtypes, seeds, learning_rates, st.integers(0, 4))
def test_two_calls_on_parts_give_the_bits_of_one(backend, preset, shapes, dtype, seed, lr, cut):
    lists = lists_of(shapes, seed, dtype)
    rule = rule_of(preset, weight_decay=0.01)
    whole = bits(*stepped(lists, rule, backend, lr))
    parts = [
        bits(*stepped([x[part] for x in lists], rule, backend, lr))
        for part in (slice(cut), slice(cut, None))
    ]
    assert whole == [first + second for first, second in zip(*parts, strict=True)]


@on_every_backend
@on_every_preset
@property_settings
@given(shapes, dtypes, seeds, learning_rates)
def test_the_order_of_tensors_does_not_matter(backend, preset, shapes, dtype, seed, lr):
    lists = lists_of(shapes, seed, dtype)
    order = normal((len(shapes),), seed).argsort().tolist()
    rule = rule_of(preset, weight_decay=0.01)
    w, m = bits(*stepped(lists, rule, backend, lr))
    permuted = stepped([[x[i] for i in order] for x in lists], rule, backend, lr)
    assert bits(*permuted) == [[w[i] for i in order], [m[i] for i in order]]


@on_every_backend
@on_every_preset
@property_settings
@given(shapes, dtypes, seeds, st.sampled_from([torch.nan, torch.inf, -torch.inf]))
def test_a_bad_gradient_stays_in_its_tensor(backend, preset, shapes, dtype, seed, bad):
    shapes = [(5, 7), *shapes]
    lists = lists_of(shapes, seed, dtype)
    rule = rule_of(preset, weight_decay=0.01)
    w, m = bits(*stepped(lists, rule, backend))
    lists[1][0][2, 3] = bad
    spoilt_w, spoilt_m = stepped(lists, rule, backend)
    assert bits(spoilt_w[1:], spoilt_m[1:]) == [w[1:], m[1:]]
    # Clipped: min(NaN, 1) is NaN, min(q/γ, 1) of an infinite norm is 0. Never a wrong number.
    assert not spoilt_w[0][2, 3].isfinite()


@on_every_backend
@on_every_preset
@property_settings
@given(shapes, dtypes, seeds, st.booleans())
def test_found_inf_leaves_every_byte(backend, preset, shapes, dtype, seed, is_infinite):
    lists = lists_of(shapes, seed, dtype)
    if is_infinite:
        lists[1][0].fill_(torch.inf)
    started = [torch.zeros(()) for _ in shapes]
    rule = rule_of(preset, weight_decay=0.01)
    after = stepped(lists, rule, backend, found_inf=torch.tensor(1.0), started=started)
    assert bits(*after) == bits(lists[0], lists[2]) and not any(started)


@on_every_backend
@pytest.mark.parametrize("preset", [name for name in PRESETS if name not in ("timm", "lightly")])
@property_settings
@given(seeds, st.integers(-30, 30))
def test_without_decay_the_size_of_the_gradient_does_not_matter(backend, preset, seed, power):
    """ε = 0, β = 0, empty buffer: the step is that of the direction alone."""
    shapes = [(5, 7), (3, 4, 3, 3), (16_385, 1)]
    w, g, _ = lists_of(shapes, seed, torch.float64)
    m = [torch.zeros_like(x) for x in w]
    rule = rule_of(preset, eps=0.0, trust_clip=False)
    expected = stepped([w, g, m], rule, backend)[0]
    found = stepped([w, [x * 2.0**power for x in g], m], rule, backend)[0]
    for mine, theirs, start in zip(found, expected, w, strict=True):
        torch.testing.assert_close(mine - start, theirs - start, rtol=1e-9, atol=1e-15)


@on_every_backend
@on_every_preset
@property_settings
@given(seeds, st.integers(-8, 8))
def test_the_size_of_the_gradient_only_enters_the_ratio(backend, preset, seed, power):
    """β = 0, empty buffer: the step lies along the gradient, whatever its size."""
    w, g, _ = lists_of([(5, 7), (35,)], seed, torch.float64)
    m = [torch.zeros_like(x) for x in w]
    moved, _ = stepped([w, [x * 2.0**power for x in g], m], rule_of(preset), backend)
    for new, old, gradient in zip(moved, w, g, strict=True):
        step, along = (old - new).flatten(), gradient.flatten()
        assert step @ along == pytest.approx(step.norm().item() * along.norm().item(), rel=1e-6)


@on_every_backend
@on_every_preset
@property_settings
@given(seeds, st.integers(1, 3), st.integers(0, 3), st.sampled_from([0.0, 0.01]))
def test_a_run_that_was_saved_goes_on_with_the_same_bits(
    backend, preset, seed, before, after, decay
):
    shapes = [(5, 7), (7,), (), (3, 30_001)]
    start = [torch.nn.Parameter(x) for x in lists_of(shapes, seed)[0]]
    options: dict[str, Any] = {"lr": 0.1, "weight_decay": decay, "backend": backend}

    def train(optimizer, params, steps):
        for step in steps:
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
            for i, p in enumerate(params):
                p.grad = normal(p.shape, seed + 100 * step + i, p.dtype)
            optimizer.step()
        return [p.detach() for p in params]

    def copies(params):
        return [torch.nn.Parameter(p.detach().clone()) for p in params]

    whole = copies(start)
    train(LARS.preset(preset, whole, **options), whole, range(before + after))
    first = copies(start)
    optimizer = LARS.preset(preset, first, **options)
    train(optimizer, first, range(before))
    second = copies(first)
    resumed = LARS.preset(preset, second, **options)
    resumed.load_state_dict(optimizer.state_dict())
    train(resumed, second, range(before, before + after))
    assert bits([p.detach() for p in second]) == bits([p.detach() for p in whole])
