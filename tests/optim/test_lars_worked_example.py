"""Ratios and first buffer of the two hand-computed steps; live peers at all scales.

w₀ = (0.6, −0.8), g = (0.3, 0.4), then (−0.1, 0.2); γ = 0.1, μ = 0.9, β = 0.01; float64. The weights
and the second buffer of the same steps are in test_lars_presets.py.
"""

from typing import Any

import numpy as np
import pytest
import torch

import mflag
from mflag.optim import LARS
from tests.optim.test_lars_exchange import OPTIONS, PEERS, make_params, ours_for

BACKENDS = [name for name in ("reference", "cpu") if mflag.backends()[name] is True]
AFTER = (0.0019607842752787396, (5.999999882352943e-04, 7.686274359092660e-04))
CLIPPED = (
    0.019607842752787395,
    (5.999999882352943e-03, 7.686274359092659e-03),
    0.042817434182521846,
)
DECAYED = (
    0.0020108882748332158, (6.153318120989640e-04, 7.882682037346206e-04), 0.0046779345754746357
)  # fmt: skip
INSIDE = (0.00196078431372549, (6e-05, 7.686274509803923e-05), 0.00428080181262940)
# preset, options, (q₁, m₁, q₂)
EXAMPLES: list[tuple[str, dict[str, Any], tuple]] = [
    ("paper2017", {}, INSIDE),
    ("mlperf", {}, INSIDE),
    ("lamb_paper", {}, (20.108882748332164, (0.0306, 0.0392), 17.978990475147093)),
    (
        "apex_larc",
        {},
        (0.3921568550557479, (0.11999999764705885, 0.15372548718185317), 0.8604606873443552),
    ),
    (
        "apex_larc",
        {"clip": False},
        (0.03921568550557479, (0.011999999764705886, 0.015372548718185318), 0.085655865476343976),
    ),
    *[(preset, {}, (*AFTER, 0.004280801629379394)) for preset in ("timm", "solo", "lightly")],
    ("timm", {"trust_clip": True}, CLIPPED),
    ("solo", {"clip_lars_lr": True}, CLIPPED),
    ("timm", {"nesterov": True}, (*AFTER, 0.004280895676846612)),
    ("timm", {"dampening": 0.5}, (*AFTER, 0.004280801629379394)),
    ("fair", {}, DECAYED),
    ("authors", {}, DECAYED),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("preset, options, expected", EXAMPLES)
def test_ratios_and_first_buffer_of_the_page(preset, options, expected, backend):
    """The ratio is what the buffer has gained, over d and what the family multiplies by."""
    w = torch.nn.Parameter(torch.tensor([[0.6, -0.8]], dtype=torch.float64))
    optimizer = LARS.preset(preset, [w], lr=0.1, weight_decay=0.01, backend=backend, **options)
    ratios, buffers = [], [np.zeros(2)]
    for g in ([0.3, 0.4], [-0.1, 0.2]):
        before = w.detach().numpy().flatten().copy()
        w.grad = torch.tensor([g], dtype=torch.float64)
        optimizer.step()
        (buffer,) = optimizer.state[w].values()
        buffers.append(buffer.numpy().flatten().copy())
        d = np.array(g) + 0.01 * before
        if preset == "lamb_paper":
            ratios.append((before - w.detach().numpy().flatten()) / (0.1 * buffers[-1]))
            continue
        share = 0.1 if preset in ("paper2017", "mlperf") else 1.0
        if len(buffers) == 3:
            share *= 1 - options.get("dampening", 0.0)
        ratios.append((buffers[-1] - 0.9 * buffers[-2]) / (share * d))
    q1, m1, q2 = expected
    assert np.allclose(buffers[1], m1, rtol=5e-15, atol=0)
    # Both components give it; the difference of two buffers has lost digits.
    assert np.allclose(ratios, [[q1, q1], [q2, q2]], rtol=1e-12, atol=0)


def train_at_all_scales(optimizer, params):
    """Twenty steps; gradients from 1e-6 to 1e6, the learning rate up and down."""
    seen = []
    for step in range(20):
        generator = torch.Generator().manual_seed(step)
        optimizer.param_groups[0]["lr"] = 0.1 + 0.09 * np.cos(step)
        for p in params:
            g = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            p.grad = g * 10 ** (-6 + 12 * step / 19)
        optimizer.step()
        seen.append([p.detach().clone() for p in params])
    return seen


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PEERS)
def test_a_live_class_agrees_at_every_scale_of_the_gradient(name, backend):
    peer, extra = PEERS[name]
    options = OPTIONS | extra
    ours, theirs = make_params(), make_params()
    found = train_at_all_scales(ours_for(name, ours, options, backend), ours)
    expected = train_at_all_scales(peer(theirs, **options), theirs)
    for mine, other in zip(found, expected, strict=True):
        for x, y in zip(mine, other, strict=True):
            assert (x - y).norm() <= 1e-12 * y.norm()
