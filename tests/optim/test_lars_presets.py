"""Every published variant against its own formula, its worked example and its live class."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import mflag
from mflag.optim import LARS
from mflag.optim.lars_presets import PRESETS
from tests.oracles.lars import Oracle

BACKENDS = [name for name in ("reference", "cpu") if mflag.backends()[name] is True]
# Ragged, 1-d, 0-d, empty, and one of several blocks with a tail.
SHAPES = [(7, 5), (13,), (), (3, 4, 3, 3), (0, 4), (2, 35_001)]
STEPS = 20


@cache
def gradients():
    """(STEPS lists) float64 gradients whose scale runs from 1e-6 to 1e6, and learning rates."""
    rng = np.random.default_rng(0)
    scales = 10.0 ** np.linspace(-6, 6, STEPS)
    lrs = 0.1 + 0.09 * np.cos(np.arange(STEPS))
    rounds = [[s * rng.standard_normal(shape) for shape in SHAPES] for s in scales]
    return rounds, lrs


def distance_after_steps(preset, dtype, backend, ours, oracle):
    """The largest distance of a weight or buffer at any step, over its largest norm so far."""
    rng = np.random.default_rng(1)
    weights = [rng.standard_normal(shape) for shape in SHAPES]
    params = [torch.nn.Parameter(torch.tensor(w).to(dtype)) for w in weights]
    optimizer = LARS.preset(preset, params, lr=1.0, backend=backend, **ours)
    oracles = [Oracle(preset, p.detach().double().numpy().copy(), **oracle) for p in params]
    worst = 0.0
    scales: dict[tuple[int, str], float] = {}  # a scalar weight may pass through 0
    for grads, lr in zip(*gradients(), strict=True):
        optimizer.param_groups[0]["lr"] = float(lr)
        for p, g, expected in zip(params, grads, oracles, strict=True):
            p.grad = torch.tensor(g).to(dtype)
            expected.step(p.grad.double().numpy(), lr)
        optimizer.step()
        for i, (p, expected) in enumerate(zip(params, oracles, strict=True)):
            pairs = {"w": (p.detach(), expected.w)}
            pairs |= {key: (m, expected.m) for key, m in optimizer.state[p].items()}
            for key, (x, exact) in pairs.items():
                scale = max(scales.get((i, key), 0.0), float(np.linalg.norm(exact)))
                scales[i, key] = scale
                apart = float(np.linalg.norm(x.double().numpy() - exact))
                worst = max(worst, apart / (scale or 1.0))
    return worst


VARIANTS: dict[str, tuple[tuple[str, ...], dict[str, Any], dict[str, Any]]] = {
    "clip": (("timm", "solo"), {"trust_clip": True}, {"clip": True}),
    "no_clip": (("apex_larc",), {"clip": False}, {"clip": False}),
    "nesterov": (
        ("timm", "solo", "lightly", "apex_larc", "mlperf"),
        {"nesterov": True},
        {"nesterov": True},
    ),
    "dampening": (
        ("timm", "solo", "lightly", "apex_larc"),
        {"dampening": 0.5},
        {"dampening": 0.5},
    ),
    "no_momentum": (
        ("timm", "solo", "lightly", "apex_larc", "mlperf", "paper2017"),
        {"momentum": 0.0},
        {"momentum": 0.0},
    ),
    "always_adapt": (
        ("timm",),
        {"always_adapt": True, "weight_decay": 0.0},
        {"adapt": True, "weight_decay": 0.0},
    ),
    "without_1d": (("solo",), {"exclude_bias_n_norm_lars": True}, {"exclude_1d": True}),
}
CASES = [
    pytest.param(preset, {"weight_decay": decay}, {"weight_decay": decay}, id=f"{preset}-{decay}")
    for preset in PRESETS
    for decay in (0.0, 0.01)
] + [
    pytest.param(
        preset, {"weight_decay": 0.01, **ours}, {"weight_decay": 0.01, **oracle}, id=f"{preset}-{v}"
    )
    for v, (presets, ours, oracle) in VARIANTS.items()
    for preset in presets
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("preset, ours, oracle", CASES)
def test_float64_follows_the_published_formula(preset, ours, oracle, backend):
    assert distance_after_steps(preset, torch.float64, backend, ours, oracle) < 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("preset, ours, oracle", CASES)
def test_float32_stays_near_the_published_formula(preset, ours, oracle, backend):
    assert distance_after_steps(preset, torch.float32, backend, ours, oracle) < 1e-5


# w1, w2, m2; w0 = (0.6, -0.8), g = (0.3, 0.4), then (-0.1, 0.2); lr 0.1, decay 0.01.
INSIDE = (
    (0.59994, -0.800076862745098),
    (0.5999262397938868, -0.8002282302814546),
    (1.3760206113174837e-05, 1.5136753635654134e-04),
)
AFTER = (
    (0.5999400000011764, -0.800076862743591),
    (0.5999262397943995, -0.8002282302750727),
    (1.3760206776917456e-04, 1.5136753148176031e-03),
)
CLIPPED = (
    (0.5994000000117646, -0.8007686274359093),
    (0.5992625095941286, -0.8022824539538774),
    (1.374904176360537e-03, 1.5138265179681108e-02),
)
DECAYED = (
    (0.599938466818790, -0.8000788268203735),
    (0.5999270598285588, -0.8002395869338120),
    (1.1406990231249269e-04, 1.6076011343852037e-03),
)
EXAMPLES: list[tuple[str, dict[str, Any], tuple]] = [
    ("paper2017", {}, INSIDE),
    ("mlperf", {}, INSIDE),
    (
        "lamb_paper",
        {},
        (
            (0.538466818790101, -0.8788268203734622),
            (0.5059635605160746, -0.9766346378167955),
            (0.018078466818790096, 0.054401173179626526),
        ),
    ),
    (
        "apex_larc",
        {},
        (
            (0.5880000002352941, -0.8153725487181853),
            (0.5852986564361414, -0.8457154602877275),
            (0.027013437991526876, 0.3034291156954212),
        ),
    ),
    (
        "apex_larc",
        {"clip": False},
        (
            (0.5988000000235294, -0.8015372548718186),
            (0.59852526796722, -0.8045652451987045),
            (0.002747320563093401, 0.0302799032688598),
        ),
    ),
    ("timm", {}, AFTER),
    ("solo", {}, AFTER),
    ("lightly", {}, AFTER),
    ("timm", {"trust_clip": True}, CLIPPED),
    ("solo", {"clip_lars_lr": True}, CLIPPED),
    (
        "timm",
        {"nesterov": True},
        (
            (0.5998860000022352, -0.8001460392128228),
            (0.5999138577272186, -0.8003644639215834),
            (1.3759091556720743e-04, 1.5136904104865404e-03),
        ),
    ),
    (
        "timm",
        {"dampening": 0.5},
        (
            AFTER[0],
            (0.5999061198983173, -0.8001871347439479),
            (3.3880102859046974e-04, 1.1027200035679712e-03),
        ),
    ),
    ("fair", {}, DECAYED),
    ("authors", {}, DECAYED),
]


def two_steps(preset, options, backend, lrs=(0.1, 0.1), shape=(1, 2)):
    w = torch.nn.Parameter(torch.tensor([0.6, -0.8], dtype=torch.float64).reshape(shape))
    optimizer = LARS.preset(preset, [w], lr=0.1, weight_decay=0.01, backend=backend, **options)
    seen = []
    for lr, g in zip(lrs, ([0.3, 0.4], [-0.1, 0.2]), strict=True):
        optimizer.param_groups[0]["lr"] = lr
        w.grad = torch.tensor(g, dtype=torch.float64).reshape(shape)
        optimizer.step()
        seen.append(w.flatten().tolist())
    (buffer,) = optimizer.state[w].values()
    return [*seen, buffer.flatten().tolist()]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("preset, options, expected", EXAMPLES)
def test_worked_example_of_the_page(preset, options, expected, backend):
    assert np.allclose(two_steps(preset, options, backend), expected, rtol=5e-15, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_fair_gives_a_1d_tensor_plain_sgd(backend):
    expected = [(0.57, -0.84), (0.553, -0.896), (0.17, 0.56)]
    assert np.allclose(two_steps("fair", {}, backend, shape=(2,)), expected, rtol=5e-15, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "preset, options, w2",
    [
        ("timm", {"eps": 0.0}, (0.5999386239793887, -0.8000919994987337)),
        ("paper2017", {}, (0.5998900239793887, -0.8001542583222631)),
        ("mlperf", {}, (0.5998900239793887, -0.8001542583222631)),
        ("authors", {}, (0.5999373261197669, -0.8000949028317174)),
    ],
)
def test_families_differ_when_the_learning_rate_falls(preset, options, w2, backend):
    seen = two_steps(preset, options, backend, lrs=(0.1, 0.01))
    assert np.allclose(seen[1], w2, rtol=5e-15, atol=0)


NAN = float("nan")
EDGES: list[tuple[str, dict[str, Any], tuple, tuple, tuple]] = [
    ("timm", {}, (0, 0), (1, 2), (-0.1, -0.2)),
    ("timm", {}, (1, 2), (0, 0), (0.99, 1.98)),
    ("timm", {"momentum": 0.0}, (1, NAN), (1, 1), (0.89, NAN)),
    ("timm", {"lr": 2.0, "trust_clip": True}, (0, 0), (1, 1), (-1, -1)),
    ("timm", {"weight_decay": 0.0}, (1, 2), (1, 2), (0.9, 1.8)),
    ("solo", {"lr": 2.0, "trust_clip": True}, (0, 0), (1, 1), (-2, -2)),
    ("authors", {"momentum": 0.0}, (1, NAN), (1, 1), (0.89, NAN)),
    ("paper2017", {}, (1, 2), (0, 0), (0.99, 1.98)),
    ("lightly", {"weight_decay": 0.0}, (1, 2), (1, 2), (0.9, 1.8)),
] + [
    (preset, {"momentum": 0.0, "trust_clip": False} | options, w, g, after)
    for preset in ("lightly", "solo", "apex_larc")
    for options, w, g, after in (
        ({}, (0, 0), (1, 2), (-0.1, -0.2)),
        ({}, (1, 2), (0, 0), (1, 2)),
        ({}, (0, 0), (0, 0), (0, 0)),
        ({}, (1, NAN), (1, 1), (NAN, NAN)),
    )
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("preset, options, before, g, after", EDGES)
def test_zero_and_nan_norms_follow_the_source(preset, options, before, g, after, backend):
    w = torch.nn.Parameter(torch.tensor(before, dtype=torch.float64))
    chosen = {"lr": 0.1, "weight_decay": 0.1, "backend": backend} | options
    optimizer = LARS.preset(preset, [w], **chosen)
    w.grad = torch.tensor(g, dtype=torch.float64)
    optimizer.step()
    assert np.allclose(w.tolist(), after, rtol=1e-14, atol=0, equal_nan=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_solo_adapts_without_decay_where_lightly_does_not(backend):
    moved = {}
    for preset in ("solo", "lightly"):
        w = torch.nn.Parameter(torch.ones(2, 2))
        w.grad = torch.ones(2, 2)
        LARS.preset(preset, [w], lr=0.1, backend=backend).step()
        moved[preset] = 1 - w[0, 0].item()
    assert moved["lightly"] == pytest.approx(0.1) and moved["solo"] == pytest.approx(1e-4, rel=1e-3)
