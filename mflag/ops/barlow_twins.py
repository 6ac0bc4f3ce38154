"""Barlow Twins loss of two views in its dual form: schema, checks, reference, autograd.

x, y = z_a, z_b standardised,  C = xᵀy/B,  d_i = C_ii
L = Σ_i (d_i − 1)² + λ Σ_{i≠j} C_ij² = Σ_i (d_i − 1)² + λ (⟨xxᵀ, yyᵀ⟩/B² − Σ_i d_i²)
∂L/∂x = (2/B) [ λ yyᵀx/B + y·diag(c) ],  c_i = (d_i − 1) − λ d_i;  ∂L/∂y by symmetry
"""

import math

import torch
from torch import Tensor

from mflag.errors import InputError
from mflag.ops.backend import choose_backend, triton_takes
from mflag.ops.float32_products import float32_products
from mflag.ops.orthogonality import check_latents
from mflag.ops.orthogonality_reference import standardize, widen
from mflag.ops.saved_gradient import register_saved_gradient

_LIBRARY = torch.library.Library("mflag", "FRAGMENT")
_LIBRARY.define(
    "barlow_twins(Tensor z_a, Tensor z_b, float offdiag_weight, bool need_grad, str? backend) "
    "-> (Tensor loss, Tensor gradient_a, Tensor gradient_b)"
)


def barlow_twins_loss(
    z_a: Tensor, z_b: Tensor, *, offdiag_weight: float = 5e-3, backend: str | None = None
) -> Tensor:
    """Return the Barlow Twins loss of two views (Zbontar et al., 2021, Algorithm 1).

    Args:
        z_a: (B, N) projections of the first view, a float dtype; computed in float32 or float64.
        z_b: (B, N) projections of the second view, same dtype.
        offdiag_weight: λ.
        backend: a name from ``mflag.backends()``; None takes the fastest that runs here.

    Returns:
        () float32 (float64 for float64 input).

    Raises:
        InputError: shapes or dtypes do not fit.
    """
    need_grad = torch.is_grad_enabled() and (z_a.requires_grad or z_b.requires_grad)
    return torch.ops.mflag.barlow_twins(z_a, z_b, offdiag_weight, need_grad, backend)[0]


def _check(z_a: Tensor, z_b: Tensor, offdiag_weight: float) -> None:
    check_latents(z_a, "z_a")
    check_latents(z_b, "z_b")
    if z_a.shape != z_b.shape or z_a.dtype != z_b.dtype:
        raise InputError(
            f"z_a is {tuple(z_a.shape)} {z_a.dtype} but z_b is {tuple(z_b.shape)} {z_b.dtype}; "
            "give two views of one shape and dtype"
        )
    if z_a.device != z_b.device:
        raise InputError(
            f"z_a is on {z_a.device} but z_b is on {z_b.device}; give both on one device"
        )
    if not 0 <= offdiag_weight < math.inf:
        raise InputError(f"offdiag_weight is {offdiag_weight!r}; give a finite number of 0 or more")


def _reference(
    z_a: Tensor, z_b: Tensor, λ: float, need_grad: bool
) -> tuple[Tensor, Tensor, Tensor]:
    x, r_x = standardize(widen(z_a))
    y, r_y = standardize(widen(z_b))
    rows, columns = x.shape
    d = (x * y).sum(0, dtype=torch.float64) / rows
    c = ((d - 1) - λ * d).to(x.dtype)
    if rows < columns:
        K_x, K_y = x @ x.T, y @ y.T
        squares = (K_x.double() * K_y.double()).sum() / rows**2
        products = (K_y @ x, K_x @ y) if need_grad else None
    else:
        C = x.T @ y
        squares = C.double().square().sum() / rows**2
        products = (y @ C.T, x @ C) if need_grad else None
    loss = (d - 1).square().sum() + λ * (squares - d.square().sum())
    if products is None:
        return loss.to(x.dtype), x.new_empty(0), x.new_empty(0)
    gradient_x = _centred(products[0] * (λ / rows) + y * c, x) * (2 / rows / r_x)
    gradient_y = _centred(products[1] * (λ / rows) + x * c, y) * (2 / rows / r_y)
    return loss.to(x.dtype), gradient_x, gradient_y


def _centred(product: Tensor, x: Tensor) -> Tensor:
    return product - product.mean(0) - x * (x * product).mean(0)


def _triton(z_a: Tensor, z_b: Tensor, λ: float, need_grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    from mflag.kernels.barlow_twins import barlow_twins

    return barlow_twins(z_a.detach().contiguous(), z_b.detach().contiguous(), λ, need_grad)


_BACKENDS = {"triton": _triton, "reference": _reference}


@torch.library.impl(_LIBRARY, "barlow_twins", "CompositeExplicitAutograd")
def _barlow_twins(
    z_a: Tensor, z_b: Tensor, offdiag_weight: float, need_grad: bool, backend: str | None
) -> tuple[Tensor, Tensor, Tensor]:
    _check(z_a, z_b, offdiag_weight)
    device = z_a.device.type
    able = {name: _BACKENDS[name] for name in _BACKENDS if name != "triton" or triton_takes(z_a)}
    run = able[choose_backend(backend, device, able)]
    with torch.autocast(device, enabled=False), float32_products(device):
        return run(z_a, z_b, offdiag_weight, need_grad)


@torch.library.register_fake("mflag::barlow_twins", lib=_LIBRARY)
def _fake(
    z_a: Tensor, z_b: Tensor, offdiag_weight: float, need_grad: bool, backend: str | None
) -> tuple[Tensor, Tensor, Tensor]:
    _check(z_a, z_b, offdiag_weight)
    shape = z_a.shape if need_grad else (0,)
    wide = widen(z_a)
    return wide.new_empty(()), wide.new_empty(shape), wide.new_empty(shape)


def _formula(z_a: Tensor, z_b: Tensor, λ: float, *_: object) -> Tensor:
    x, y = standardize(widen(z_a))[0], standardize(widen(z_b))[0]
    rows = x.shape[0]
    d = (x * y).sum(0) / rows
    squares = ((x @ x.T) * (y @ y.T)).sum() / rows**2
    return (d - 1).square().sum() + λ * (squares - d.square().sum())


register_saved_gradient(_LIBRARY, "mflag::barlow_twins", 2, _formula)
