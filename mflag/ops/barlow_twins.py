"""Barlow Twins loss of two views in its dual form: schema, checks, reference, autograd.

x, y = z_a, z_b standardised,  C = xᵀy/B,  d_i = C_ii
L = Σ_i (d_i − 1)² + λ Σ_{i≠j} C_ij² = Σ_i (d_i − 1)² + λ (⟨xxᵀ, yyᵀ⟩/B² − Σ_i d_i²)
∂L/∂x = (2/B) [ λ yyᵀx/B + y·diag(c) ],  c_i = (d_i − 1) − λ d_i;  ∂L/∂y by symmetry
"""

import torch
from torch import Tensor

from mflag.errors import InputError
from mflag.ops.arguments import check_backend, check_not_negative, check_tensor
from mflag.ops.backend import choose_by_name, names_on
from mflag.ops.float32_products import float32_products
from mflag.ops.orthogonality import check_latents
from mflag.ops.orthogonality_reference import VARIANCE_EPS, standardize, widen
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
    check_tensor("z_a", z_a)
    check_tensor("z_b", z_b)
    check_not_negative("offdiag_weight", offdiag_weight)
    check_backend(backend)
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
    check_not_negative("offdiag_weight", offdiag_weight)


def _reference(
    z_a: Tensor, z_b: Tensor, λ: float, need_grad: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Multiples of x_i, which vanish in the backward of the norm, are left out of the products.

    K_y x = (K_y − αI) x + α x,  y_i = (y_i − d_i x_i) + d_i x_i;  B ≥ N: without the diagonal of C.
    """
    x, r_x = standardize(widen(z_a))
    y, r_y = standardize(widen(z_b))
    rows, columns = x.shape
    d = (x.double() * y).sum(0) / rows
    c = d - 1
    α_x = α_y = d.new_zeros(())
    if rows < columns:
        K_x, K_y = x @ x.T, y @ y.T
        squares_x, squares_y = (v.double().square().sum(1) for v in (x, y))
        squares = (K_x.double() * K_y).fill_diagonal_(0).sum() + (squares_x * squares_y).sum()
        loss = c.square().sum() + λ * (squares / rows**2 - d.square().sum())
        c = c - λ * d
        α_x, α_y = squares_x.mean(), squares_y.mean()
        K_x.diagonal().copy_(squares_x - α_x)
        K_y.diagonal().copy_(squares_y - α_y)
        products = (K_y @ x, K_x @ y) if need_grad else None
    else:
        C = (x.T @ y).fill_diagonal_(0)
        loss = c.square().sum() + λ * C.double().square().sum() / rows**2
        products = (y @ C.T, x @ C) if need_grad else None
    if products is None:
        return loss.to(x.dtype), x.new_empty(0), x.new_empty(0)

    def through_norm(product: Tensor, x: Tensor, y: Tensor, r: Tensor, α: Tensor) -> Tensor:
        product = product * (λ / rows) + (y - x * d.to(x.dtype)) * c.to(x.dtype)
        radial = (x.double() * product).mean(0)
        kept = (λ / rows * α + c * d) * (VARIANCE_EPS / r.double().square()) - radial
        return (product - product.mean(0) + x * kept.to(x.dtype)) * (2 / rows / r)

    return (
        loss.to(x.dtype),
        through_norm(products[0], x, y, r_x, α_y),
        through_norm(products[1], y, x, r_y, α_x),
    )


def _native(z_a: Tensor, z_b: Tensor, λ: float, need_grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    wide = (widen(z.detach()).contiguous() for z in (z_a, z_b))
    return torch.ops.mflag_native.barlow_twins(*wide, λ, need_grad)


def _triton(z_a: Tensor, z_b: Tensor, λ: float, need_grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    from mflag.kernels.barlow_twins import barlow_twins

    return barlow_twins(z_a.detach().contiguous(), z_b.detach().contiguous(), λ, need_grad)


def _cuda(z_a: Tensor, z_b: Tensor, λ: float, need_grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    views = (z.detach().contiguous() for z in (z_a, z_b))
    return torch.ops.mflag_native.barlow_twins(*views, λ, need_grad)


_BACKENDS = {"cuda": _cuda, "triton": _triton, "cpu": _native, "reference": _reference}


def _able(z: Tensor) -> tuple[str, ...]:
    """The backends that take this case, if they run here at all."""
    names = names_on(z.device.type, _BACKENDS)
    return tuple(
        name for name in names if name not in ("cuda", "triton") or z.dtype != torch.float64
    )


@torch.library.impl(_LIBRARY, "barlow_twins", "CompositeExplicitAutograd")
def _barlow_twins(
    z_a: Tensor, z_b: Tensor, offdiag_weight: float, need_grad: bool, backend: str | None
) -> tuple[Tensor, Tensor, Tensor]:
    _check(z_a, z_b, offdiag_weight)
    device = z_a.device.type
    run = _BACKENDS[choose_by_name(backend, device, _able(z_a))]
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
