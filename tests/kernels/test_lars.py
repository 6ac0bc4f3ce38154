"""The Triton kernels of LARS: in the interpreter, against the oracle and the reference."""

from typing import Any

import numpy as np
import pytest
import torch

from mflag import backends
from mflag.errors import InputError
from mflag.ops import lars_step_
from mflag.optim import LARS
from mflag.optim.lars_presets import PRESETS
from tests.oracles.lars import Oracle

NEEDS_TRITON = pytest.mark.skipif(
    backends()["triton"] is not True, reason=f"triton: {backends()['triton']}"
)
# Two chunks and a tail, 1-d, 0-d, empty, exactly one chunk.
SHAPES = [(3, 3000), (13,), (), (0, 4), (64, 64)]
RULES: dict[str, dict[str, Any]] = {
    "separate": {"weight_decay": 0.01},
    "decayed": {"weight_decay": 0.01, "norm": "decayed", "zero_norm": "keep_decay"},
    "momentum": {"weight_decay": 0.01, "norm": "momentum", "zero_norm": "keep_decay"},
    "nesterov": {"weight_decay": 0.01, "nesterov": True},
    "inside": {"weight_decay": 0.01, "lr_in_momentum": True},
    "clip": {"weight_decay": 0.01, "trust_clip": True, "trust_coefficient": 10.0},
    "plain": {"weight_decay": 0.0},
}
VARIANTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("timm", {"trust_clip": True}, {"clip": True}),
    ("timm", {"dampening": 0.5}, {"dampening": 0.5}),
    ("lightly", {"nesterov": True}, {"nesterov": True}),
    ("apex_larc", {"momentum": 0.0}, {"momentum": 0.0}),
    ("timm", {"always_adapt": True, "weight_decay": 0.0}, {"adapt": True, "weight_decay": 0.0}),
    ("solo", {"exclude_bias_n_norm_lars": True}, {"exclude_1d": True}),
]
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    *((preset, {}, {}) for preset in PRESETS),
    *VARIANTS,
]
ROUNDING = {torch.float64: 1e-13, torch.float32: 3e-6}


def lists(dtype=torch.float32, shapes=SHAPES, seed=0):
    """Weights, gradients, momentum buffers."""
    generator = torch.Generator().manual_seed(seed)
    return [
        [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
        for _ in range(3)
    ]


def stepped(rule, given, backend="triton", **options):
    w, g, m = ([x.clone() for x in tensors] for tensors in given)
    lars_step_(w, g, m, lr=0.1, backend=backend, **rule, **options)
    return w + m


def equal_bits(a, b):
    return all(
        x.dtype == y.dtype and x.numpy().tobytes() == y.numpy().tobytes()
        for x, y in zip(a, b, strict=True)
    )


def assert_close(a, b, rounding):
    for x, y in zip(a, b, strict=True):
        distance = (x.double() - y.double()).norm()
        assert distance <= rounding * max(1e-9, float(y.double().norm())), (x.shape, distance)


@NEEDS_TRITON
@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("preset, ours, exact", CASES, ids=lambda v: None if v == {} else str(v))
def test_six_steps_follow_the_published_formula(preset, ours, exact, dtype):
    decay = {"weight_decay": 0.01}
    params = [torch.nn.Parameter(w) for w in lists(dtype)[0]]
    optimizer = LARS.preset(preset, params, lr=1.0, backend="triton", **{**decay, **ours})
    oracles = [Oracle(preset, p.detach().double().numpy(), **{**decay, **exact}) for p in params]
    for step in range(6):
        lr = optimizer.param_groups[0]["lr"] = 0.1 + 0.05 * np.cos(step)
        scale = 10.0 ** (2 * step - 5)
        for p, g, oracle in zip(params, lists(dtype, seed=step)[1], oracles, strict=True):
            p.grad = g * scale
            oracle.step(p.grad.double().numpy(), lr)
        optimizer.step()
    assert_close(
        [p.detach() for p in params], [torch.tensor(o.w) for o in oracles], ROUNDING[dtype]
    )


@NEEDS_TRITON
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_rules_agree_with_the_reference(rule):
    for scalars in ({}, {"grad_scale": torch.tensor(64.0), "maximize": True}):
        given = lists(torch.float64)
        after = stepped(rule, given, **scalars)
        assert_close(after, stepped(rule, given, "reference", **scalars), 1e-13)


@NEEDS_TRITON
def test_a_tensor_of_many_chunks_adds_all_of_them():
    given = lists(torch.float64, [(265 * 4096 + 5,)])
    rule = RULES["separate"]
    assert_close(stepped(rule, given), stepped(rule, given, "reference"), 1e-13)


@NEEDS_TRITON
@pytest.mark.parametrize(
    "dtypes",
    ["bf16 bf16 bf16", "fp16 fp16 fp16", "bf16 bf16 fp32", "fp32 bf16 fp32", "bf16 fp32 fp32",
     "fp32 fp64 fp32"],
)  # fmt: skip
def test_any_triple_of_dtypes_is_the_references(dtypes):
    names = {
        "bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32,
        "fp64": torch.float64,
    }  # fmt: skip
    types = [names[name] for name in dtypes.split()]
    given = [[x.to(t) for x in xs] for xs, t in zip(lists(), types, strict=True)]
    after, expected = (stepped(RULES["separate"], given, name) for name in ("triton", "reference"))
    assert [x.dtype for x in after] == [x.dtype for x in expected]
    # The interpreter cuts bfloat16 off, where a GPU rounds to nearest.
    assert_close(after, expected, 6e-3 if torch.bfloat16 in types else 5e-4)


@NEEDS_TRITON
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_found_inf_leaves_every_byte_and_the_first_step_still_to_come(rule):
    given = lists()
    started = [torch.zeros(()) for _ in SHAPES]
    after = stepped(rule, given, found_inf=torch.tensor(1.0), started=started)
    assert equal_bits(after, given[0] + given[2]) and not any(started)
    stepped(rule, given, found_inf=torch.tensor(0.0), started=started)
    assert all(started)


@NEEDS_TRITON
def test_two_calls_give_the_bits_of_one_whatever_the_order():
    given, rule, n = lists(), RULES["separate"], len(SHAPES)
    whole = stepped(rule, given)
    assert equal_bits(whole, stepped(rule, given))
    parts = [stepped(rule, [x[part][::-1] for x in given]) for part in (slice(2), slice(2, n))]
    weights = parts[0][:2][::-1] + parts[1][: n - 2][::-1]
    buffers = parts[0][2:][::-1] + parts[1][n - 2 :][::-1]
    assert equal_bits(whole, weights + buffers)


@NEEDS_TRITON
def test_a_nan_gradient_stays_in_its_tensor():
    given = lists()
    clean = stepped(RULES["separate"], given)
    given[1][0][0, 0] = float("nan")
    after = stepped(RULES["separate"], given)
    assert after[0].isnan().all() and equal_bits(after[1 : len(SHAPES)], clean[1 : len(SHAPES)])


@NEEDS_TRITON
def test_a_non_finite_weight_without_decay_does_not_spread():
    w, g, m = [torch.tensor([[1.0, float("inf")]])], [torch.ones(1, 2)], [torch.zeros(1, 2)]
    after = stepped(RULES["plain"], [w, g, m])
    assert torch.equal(after[0], torch.tensor([[0.9, float("inf")]]))


@NEEDS_TRITON
@pytest.mark.parametrize("w", [(0.0, 0.0), (1.0, 2.0), (1.0, float("nan"))])
@pytest.mark.parametrize("g", [(0.0, 0.0), (1.0, 2.0)])
@pytest.mark.parametrize("zero_norm", ["plain", "keep_decay"])
@pytest.mark.parametrize("clip", [{}, {"trust_clip": True}, {"trust_clip": True, "lr": 2.0}])
def test_zero_norms_are_the_references(w, g, zero_norm, clip):
    for clip_zero in (False, True):
        results = []
        for backend in ("triton", "reference"):
            x, m = [torch.tensor([w], dtype=torch.float64)], [torch.zeros(1, 2).double()]
            options = {"lr": 0.1, "weight_decay": 0.1, "zero_norm": zero_norm, **clip}
            options["clip_zero_norm"] = clip_zero
            lars_step_(x, [torch.tensor([g]).double()], m, backend=backend, **options)
            results.append(torch.stack(x + m))
        torch.testing.assert_close(*results, rtol=1e-14, atol=1e-18, equal_nan=True)


@NEEDS_TRITON
def test_views_at_any_address_and_of_any_strides_are_stepped():
    given = lists(shapes=[(5, 1001), (6, 4, 3, 5)])
    expected = stepped(RULES["separate"], given)
    w, g, m = given
    w[0] = torch.cat([w[0].new_zeros(1), w[0].flatten()])[1:].view(5, 1001)
    w[1] = w[1].contiguous(memory_format=torch.channels_last)
    g[0] = g[0].t().contiguous().t()
    lars_step_(w, g, m, lr=0.1, backend="triton", **RULES["separate"])
    assert_close(w + m, expected, 1e-6)


@NEEDS_TRITON
def test_new_gradients_at_other_addresses_are_the_ones_that_are_read():
    w, _, m = lists()
    exact = [[x.clone() for x in xs] for xs in (w, m)]
    for seed in range(3):
        g = lists(seed=seed)[1]
        lars_step_(w, g, m, lr=0.1, backend="triton", **RULES["separate"])
        lars_step_(exact[0], g, exact[1], lr=0.1, backend="reference", **RULES["separate"])
    assert_close(w + m, exact[0] + exact[1], 1e-6)


@NEEDS_TRITON
def test_gradients_are_not_written_and_versions_rise():
    w, g, m = lists()
    before, versions = [x.clone() for x in g], [x._version for x in w + m]
    lars_step_(w, g, m, lr=0.1, backend="triton")
    assert equal_bits(g, before)
    assert all(x._version > v for x, v in zip(w + m, versions, strict=True))


def test_cpu_tensors_beside_a_gpu_are_refused_when_forced(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    able = {"reference": True, "triton": True}
    monkeypatch.setattr("mflag.ops.backend.backends", lambda: able)
    with pytest.raises(InputError, match=r"'triton' does not take these tensors \(on cpu\)"):
        lars_step_(*lists(), lr=0.1, backend="triton")
