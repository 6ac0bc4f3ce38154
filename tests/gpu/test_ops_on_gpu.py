"""Every op on the GPU against the float64 oracles, and twice with the same bits."""

from typing import Any

import pytest
import torch

from mflag.losses import OrthogonalityLoss
from mflag.ops import alignment_loss
from mflag.optim import LARS
from tests.oracles.alignment import alignment
from tests.oracles.lars import Oracle
from tests.oracles.orthogonality import value_and_gradient

pytestmark = pytest.mark.gpu
SHAPES = [(1, 64), (5, 37), (33, 2048), (128, 2048), (256, 1000), (512, 2048), (300, 64)]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
# float32 rounding; one rounding of a 16-bit gradient.
GRADIENT_FLOOR = {torch.float32: 2e-6, torch.bfloat16: 4e-3, torch.float16: 6e-4}


def on_gpu(z, loss):
    z = z.cuda().requires_grad_()
    value = loss(z)
    value.backward()
    return value.detach(), z.grad


@pytest.mark.parametrize("backend", [None, "reference"])
@pytest.mark.parametrize("preset", ["paper", "authors", "barlow"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_orthogonality_matches_the_oracle(backend, preset, shape, dtype):
    torch.manual_seed(0)
    z = torch.randn(shape).relu().to(dtype)
    loss = OrthogonalityLoss.preset(preset, backend=backend)
    value, gradient = on_gpu(z, loss)
    formula: dict[str, Any] = {
        "norm": loss.norm, "scale": None if loss.scale == "batch" else loss.scale,
        "target": loss.target, "offdiag_weight": loss.offdiag_weight, "factor": loss.factor,
    }  # fmt: skip
    exact, exact_gradient = value_and_gradient(z.double(), **formula)
    assert float((value.cpu().double() - exact).abs()) <= 1e-6 * float(exact.abs().clamp(min=1e-6))
    error = (gradient.cpu().double() - exact_gradient).norm()
    assert float(error) <= GRADIENT_FLOOR[dtype] * max(float(exact_gradient.norm()), 1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_orthogonality_gives_the_same_bits_a_hundred_times(shape):
    z = torch.randn(shape)
    loss = OrthogonalityLoss.preset("recommended")
    value, gradient = on_gpu(z, loss)
    for _ in range(100):
        again, gradient_again = on_gpu(z, loss)
        assert torch.equal(value, again) and torch.equal(gradient, gradient_again)


def test_two_streams_do_not_share_a_workspace():
    z = [torch.randn(128, 2048, device="cuda") for _ in range(2)]
    loss = OrthogonalityLoss.preset("recommended")
    alone = [loss(x) for x in z]
    streams = [torch.cuda.Stream() for _ in z]
    torch.cuda.synchronize()
    for _ in range(50):
        together = []
        for x, stream in zip(z, streams, strict=True):
            with torch.cuda.stream(stream):
                together.append(loss(x))
        torch.cuda.synchronize()
        assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_alignment_matches_the_oracle(dtype):
    torch.manual_seed(0)
    z, table, rows = torch.randn(128, 768).to(dtype), torch.randn(500, 768), torch.arange(128) * 3
    value, gradient = on_gpu(z, lambda x: alignment_loss(x, table.cuda(), rows.cuda()))
    exact = z.double().requires_grad_()
    loss = alignment(exact, table.double()[rows])
    loss.backward()
    assert float(value) == pytest.approx(float(loss), rel=1e-6)
    assert exact.grad is not None
    error = (gradient.cpu().double() - exact.grad).norm() / exact.grad.norm()
    assert float(error) <= GRADIENT_FLOOR[dtype]


@pytest.mark.parametrize("preset", ["authors", "timm", "fair", "lamb_paper", "paper2017"])
def test_lars_follows_the_oracle(preset):
    torch.manual_seed(0)
    start = torch.randn(64, 32)
    weight = start.cuda().requires_grad_()
    optimizer = LARS.preset(preset, [weight], lr=0.1, weight_decay=1e-3)
    oracle = Oracle(preset, start.double().numpy(), weight_decay=1e-3)
    for _ in range(5):
        gradient = torch.randn(64, 32)
        weight.grad = gradient.cuda()
        optimizer.step()
        oracle.step(gradient.double().numpy(), 0.1)
    exact = torch.from_numpy(oracle.w)
    assert float((weight.detach().cpu().double() - exact).norm() / exact.norm()) < 1e-5


def test_a_compiled_loss_is_the_eager_one():
    z = torch.randn(128, 2048, device="cuda")
    loss = OrthogonalityLoss.preset("recommended")
    assert torch.equal(loss(z), torch.compile(loss, fullgraph=True)(z))
