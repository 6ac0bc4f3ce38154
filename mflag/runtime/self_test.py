"""Every op on every backend that works here, against its formula in float64."""

from collections.abc import Callable

import torch
from torch import Tensor

from mflag.native import backends
from mflag.ops import alignment_loss, augment_images, barlow_twins_loss, orthogonality_loss
from mflag.ops.backend import NoKernelError
from mflag.optim import LARS

TOLERANCE = 2e-5  # relative, float32; a wrong formula is off by far more

# Two steps of timm's variant, learning rate 0.1, decay 0.01, momentum 0.9, worked by hand.
_WEIGHT = [0.6, -0.8]
_GRADIENTS = ([0.3, 0.4], [-0.1, 0.2])
_AFTER_TWO_STEPS = [0.5999262397943995, -0.8002282302750727]


def self_test() -> list[tuple[str, str, float | str]]:
    """Return (op, backend, relative error or what went wrong) for all that should work here."""
    tests: dict[str, Callable[[str, str], float]] = {
        "orthogonality": _orthogonality,
        "alignment": _alignment,
        "barlow_twins": _barlow_twins,
        "lars": _lars,
        "augment": _augment,
    }
    results: list[tuple[str, str, float | str]] = []
    for backend, able in backends().items():
        if able is not True:
            continue
        device = "cuda" if backend in ("cuda", "triton") and torch.cuda.is_available() else "cpu"
        for op, test in tests.items():
            try:
                results.append((op, backend, test(backend, device)))
            except NoKernelError:
                continue
            except Exception as error:  # a doctor reports, whatever it is
                results.append((op, backend, f"{type(error).__name__}: {error}"))
    return results


def _orthogonality(backend: str, device: str) -> float:
    torch.manual_seed(0)
    z = torch.randn(24, 48)
    exact = z.double().requires_grad_()
    x = (exact - exact.mean(0)) / (exact.var(0, correction=0) + 1e-5).sqrt()
    c = x.T @ x / len(z)
    diagonal = c.diagonal()
    value = 0.5 * (
        (diagonal - 1).square().sum() + 0.0051 * (c.square().sum() - diagonal.square().sum())
    )
    value.backward()
    assert exact.grad is not None
    mine = z.to(device).requires_grad_()
    loss = orthogonality_loss(
        mine, norm="standardize", target=1.0, offdiag_weight=0.0051, factor=0.5, backend=backend
    )
    loss.backward()
    assert mine.grad is not None
    return max(_error(loss, value), _error(mine.grad, exact.grad))


def _alignment(backend: str, device: str) -> float:
    torch.manual_seed(0)
    z, table, rows = torch.randn(16, 24), torch.randn(40, 24), torch.arange(3, 35, 2)
    exact = z.double().requires_grad_()
    cosine = torch.nn.functional.cosine_similarity(exact, table.double()[rows])
    value = (2 - 2 * cosine).mean()
    value.backward()
    assert exact.grad is not None
    mine = z.to(device).requires_grad_()
    loss = alignment_loss(mine, table.to(device), rows.to(device), backend=backend)
    loss.backward()
    assert mine.grad is not None
    return max(_error(loss, value), _error(mine.grad, exact.grad))


def _barlow_twins(backend: str, device: str) -> float:
    torch.manual_seed(0)
    views = torch.randn(2, 12, 20)
    exact = views.double().requires_grad_()
    x, y = ((v - v.mean(0)) / (v.var(0, correction=0) + 1e-5).sqrt() for v in exact)
    c = x.T @ y / 12
    diagonal = c.diagonal()
    value = (diagonal - 1).square().sum()
    value = value + 5e-3 * (c.square().sum() - diagonal.square().sum())
    value.backward()
    assert exact.grad is not None
    mine = views.to(device).requires_grad_()
    loss = barlow_twins_loss(mine[0], mine[1], offdiag_weight=5e-3, backend=backend)
    loss.backward()
    assert mine.grad is not None
    return max(_error(loss, value), _error(mine.grad, exact.grad))


def _lars(backend: str, device: str) -> float:
    weight = torch.tensor(_WEIGHT, device=device, requires_grad=True)
    optimizer = LARS.preset("timm", [weight], lr=0.1, weight_decay=0.01, backend=backend)
    for gradient in _GRADIENTS:
        weight.grad = torch.tensor(gradient, device=device)
        optimizer.step()
    return _error(weight.detach(), torch.tensor(_AFTER_TWO_STEPS, dtype=torch.float64))


def _augment(backend: str, device: str) -> float:
    """A quarter turn, half the contrast, nine tenths of the brightness."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (2, 1, 12, 12), dtype=torch.uint8)
    grey = images.double() / 255
    mean = grey.mean((1, 2, 3), keepdim=True)
    exact = (0.9 * (0.5 * (grey.rot90(-1, (2, 3)) - mean) + mean) - 0.5) / 0.25
    theta = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]).repeat(2, 1, 1)
    given = (images, theta, torch.full((2,), 0.9), torch.full((2,), 0.5))
    mine = augment_images(
        *(tensor.to(device) for tensor in given), size=12, mean=0.5, std=0.25, backend=backend
    )
    return _error(mine, exact.expand_as(mine))


def _error(mine: Tensor, exact: Tensor) -> float:
    difference = (mine.detach().cpu().double() - exact.detach()).norm()
    return float(difference / exact.detach().norm())
