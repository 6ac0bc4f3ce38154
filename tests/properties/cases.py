"""What the property tests draw, on which backends, and how close is equal."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from torch import Tensor

from mflag import backends
from mflag.ops.backend import NoKernelError
from tests.oracles.orthogonality import gram, normalise, unprojected_gradient

NORMS = ("none", "center", "sample", "feature", "standardize")
# MFLAG_EXAMPLES=1000 looks further, by a seed that hypothesis prints when it finds something.
_WANTED = os.environ.get("MFLAG_EXAMPLES")
property_settings = settings(
    deadline=None,
    database=None,
    print_blob=True,
    derandomize=_WANTED is None,
    max_examples=int(_WANTED or 12),
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
# Of the size of what was added up.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6}


def backends_of(call: Callable[[str], object]) -> list[Any]:
    """The backends that run here and have a kernel for ``call``, which gets a name.

    Triton's interpreter takes seconds where the others take milliseconds: marked slow.
    """

    def has_kernel(name: str) -> bool:
        try:
            call(name)
        except NoKernelError:
            return False
        return True

    names = [name for name, state in backends().items() if state is True and has_kernel(name)]
    return [pytest.param(n, marks=pytest.mark.slow if n == "triton" else ()) for n in names]


def derivatives(loss: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    """The loss and its gradient by each input; a case that the backend does not take is skipped."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    try:
        value = loss(*leaves)
    except NoKernelError:
        assume(False)
    return value.detach(), *torch.autograd.grad(value, leaves)


def normal(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)


# Small ones of every kind, and some that need several blocks of the Gram.
shapes = st.one_of(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from([(5, 300), (33, 101), (70, 33), (66, 70), (70, 66)]),
)
wide_shapes = st.tuples(st.integers(1, 9), st.integers(1, 9)).map(lambda n: (n[0], n[0] + n[1]))
seeds = st.integers(0, 2**31 - 1)
dtypes = st.sampled_from([torch.float64, torch.float32])


@st.composite
def formulas(draw: st.DrawFn, norms: tuple[str, ...] = NORMS) -> dict[str, Any]:
    """The arguments of ``orthogonality_loss``; δ is 1 most often, as more kernels take that."""
    return {
        "norm": draw(st.sampled_from(norms)),
        "scale": draw(st.sampled_from([None, 1.0, 0.37])),
        "target": draw(st.sampled_from([1.0, 0.0, 0.4])),
        "offdiag_weight": draw(st.sampled_from([1.0, 0.0051, 0.0, 1.7])),
        "factor": draw(st.sampled_from([1.0, 0.5])),
        "diagonal_weight": draw(st.sampled_from([1.0, 1.0, 1.0, 0.0, 0.3])),
    }


def term_sizes(z: Tensor, formula: dict[str, Any]) -> tuple[float, float]:
    """The size of the terms of the loss and of the gradient by z, before anything cancels."""
    z = z.double()
    norm, scale = formula["norm"], formula["scale"]
    C = gram(z, norm, scale, 1e-12)
    λ, δ, t = (formula[key] for key in ("offdiag_weight", "diagonal_weight", "target"))
    diagonal = C.diagonal().square().sum() + t**2 * len(C)
    value = formula["factor"] * (δ * diagonal + λ * (C.square().sum() + diagonal))
    # A short row or column: the norm's backward divides by it, and its own rounding grows. What a
    # mean leaves has the rounding of what it was taken from.
    reach = 1.0
    if norm in ("sample", "feature"):
        reach = 1 / z.norm(dim=1 if norm == "sample" else 0).min().clamp(min=1e-3).item()
    if norm == "standardize":
        reach = 1 / (z.var(0, correction=0) + 1e-5).sqrt().min().item()
    growth = max(1.0, reach) * max(1.0, z.abs().max().item())
    x = normalise(z, norm, 1e-12).norm()
    if norm in ("center", "standardize"):
        x = x + z.norm() * reach
        value = value + 1e-3 * z.norm()
    products = x * (λ * C.norm() + (δ + λ) * diagonal.sqrt())
    full = 4 * formula["factor"] / (scale or len(z)) * products
    full = max(full, unprojected_gradient(z, **formula).norm())
    return value.item() * growth, full.item() * growth * max(1.0, reach)


def is_near(found: Tensor, expected: Tensor, size: float, dtype: torch.dtype) -> bool:
    error = (found.double() - expected.double()).norm().item()
    return error <= TOLERANCE[dtype] * size + 1e-30
