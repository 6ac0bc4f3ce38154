"""Orthogonality loss: schema, checks, choice of backend, autograd."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mflag.errors import InputError
from mflag.ops.arguments import (
    check_backend,
    check_finite,
    check_not_negative,
    check_tensor,
    is_finite,
)
from mflag.ops.backend import choose_by_name, names_on
from mflag.ops.float32_products import float32_products
from mflag.ops.orthogonality_reference import (
    Formula,
    Normalised,
    OwnRows,
    needs_float64,
    orthogonality_formula,
    orthogonality_reference,
    through_norm,
    widen,
)
from mflag.ops.saved_gradient import register_saved_gradient

NORMS = ("none", "center", "sample", "feature", "standardize")
PRECISIONS = ("highest", "tf32")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

_LIBRARY = torch.library.Library("mflag", "FRAGMENT")
_LIBRARY.define(
    "orthogonality(Tensor z, str norm, float? scale, float target, float offdiag_weight, "
    "float factor, float eps, float diagonal_weight, bool need_grad, str precision, str? backend) "
    "-> (Tensor loss, Tensor gradient)"
)


def orthogonality_loss(
    z: Tensor,
    *,
    norm: str = "standardize",
    scale: float | str | None = "batch",
    target: float = 1.0,
    offdiag_weight: float = 0.0051,
    factor: float = 0.5,
    eps: float = 1e-12,
    diagonal_weight: float = 1.0,
    precision: str = "highest",
    backend: str | None = None,
) -> Tensor:
    """Return L = a[δ Σ_i (d_i − t)² + λ Σ_{i≠j} C_ij²], C = xᵀx/s, d_i = C_ii, x = z normalised.

    The gradient is worked out in the forward; the backward only scales it. With B < N nothing of
    size N × N is formed.

    Args:
        z: (B, N) float16, bfloat16, float32 or float64, any strides; 16-bit input is computed in
            float32, also under autocast.
        norm: ``none``, ``center`` (columns of zero mean), ``sample`` (unit rows), ``feature`` (unit
            columns) or ``standardize`` (columns of zero mean and unit biased variance, 1e-5 inside
            the root).
        scale: s; ``"batch"`` or None is B.
        target: t of the diagonal.
        offdiag_weight: λ.
        factor: a.
        eps: smallest norm to divide by, as in ``torch.nn.functional.normalize``.
        diagonal_weight: δ; 0 leaves the covariance term of VICReg.
        precision: ``highest``, or ``tf32`` to allow TF32 products on a GPU.
        backend: a name from ``mflag.backends()``; None takes the fastest that runs here.

    Returns:
        () float32 (float64 for float64 input).

    Raises:
        InputError: a shape, dtype or parameter is not one of the above, or the forced backend
            cannot run here.
    """
    if scale == "batch":
        scale = None
    formula = Formula(norm, scale, target, offdiag_weight, factor, eps, diagonal_weight)  # type: ignore[arg-type]
    check_formula(formula, precision)
    check_tensor("z", z)
    check_backend(backend)
    need_grad = z.requires_grad and torch.is_grad_enabled()
    loss, _ = torch.ops.mflag.orthogonality(z, *formula, need_grad, precision, backend)
    return loss


def check_formula(formula: Formula, precision: str) -> None:
    """Raise InputError unless every parameter of the loss is one that exists."""
    norm, scale = formula.norm, formula.scale
    if norm not in NORMS:
        raise InputError(f"norm is {norm!r}; choose one of {', '.join(NORMS)}")
    if precision not in PRECISIONS:
        raise InputError(f"precision is {precision!r}; choose one of {', '.join(PRECISIONS)}")
    if scale is not None and not (is_finite(scale) and scale > 0):
        raise InputError(f"scale is {scale!r}; give a number above 0, or 'batch'")
    for name in ("target", "factor"):
        check_finite(name, getattr(formula, name))
    for name in ("offdiag_weight", "eps", "diagonal_weight"):
        check_not_negative(name, getattr(formula, name))


def check_latents(z: Tensor, name: str = "z") -> None:
    """Raise InputError unless ``z`` is a dense, non-empty (B, N) tensor of a float dtype."""
    check_tensor(name, z)
    if z.dtype not in DTYPES:
        raise InputError(f"{name} has dtype {z.dtype}; give float16, bfloat16, float32 or float64")
    if z.ndim != 2 or z.numel() == 0:
        raise InputError(f"{name} has shape {tuple(z.shape)}; give (B, N) with B and N above 0")


Implementation = Callable[[Tensor, Formula, bool, str], tuple[Tensor, Tensor]]


def _reference(
    z: Tensor, formula: Formula, need_grad: bool, precision: str
) -> tuple[Tensor, Tensor]:
    return orthogonality_reference(z, formula, need_grad)


def _native(z: Tensor, formula: Formula, need_grad: bool, precision: str) -> tuple[Tensor, Tensor]:
    wide = widen(z.detach()).contiguous()
    scale = formula.scale or z.shape[0]
    return torch.ops.mflag_native.orthogonality(wide, formula.norm, scale, *formula[2:], need_grad)


def _cuda(z: Tensor, formula: Formula, need_grad: bool, precision: str) -> tuple[Tensor, Tensor]:
    scale, z = formula.scale or z.shape[0], z.detach().contiguous()
    return torch.ops.mflag_native.orthogonality(z, formula.norm, scale, *formula[2:], need_grad)


def _native_own_rows(
    z: Tensor, formula: Formula, need_grad: bool, own: OwnRows
) -> tuple[Tensor, Tensor]:
    dtype, rows = widen(z).dtype, z.shape[0]
    wide = z.detach().to(torch.float64 if needs_float64(formula) else dtype).contiguous()
    scale = formula.scale or rows
    (squares, rest), product, x, columns = torch.ops.mflag_native.orthogonality_own_rows(
        wide, formula.norm, scale, *formula[2:], own.first, own.length, need_grad
    )
    weight = formula.factor * formula.offdiag_weight / scale**2
    loss = (rest + weight * own.total(squares)).to(dtype)
    if x.numel():
        r, left_out, is_projected = columns.unbind()
        normalised = Normalised(x, r, is_projected.bool())
        product = through_norm(product, left_out, normalised, formula.norm, rows, own.total)
    return loss, product.to(dtype) if need_grad else product.new_empty(0, dtype=dtype)


def _triton(
    z: Tensor,
    formula: Formula,
    need_grad: bool,
    precision: str,
    own: OwnRows | None = None,
) -> tuple[Tensor, Tensor]:
    from mflag.kernels.orthogonality_dual import orthogonality_dual
    from mflag.kernels.orthogonality_formula import CODES, Parameters
    from mflag.kernels.orthogonality_large import Rows, orthogonality_large

    parameters = Parameters(CODES[formula.norm], formula.scale or 0.0, *formula[2:])
    z = z.detach().contiguous()
    if _is_small_dual(z):
        loss, gradient = orthogonality_dual(z, parameters, need_grad)
        return loss, own.of(gradient) if own and need_grad else gradient
    return orthogonality_large(z, parameters, need_grad, Rows(*own) if own else None)


def _is_small_dual(z: Tensor) -> bool:
    """Whether two launches do it: a tile of columns holds all rows, and offsets have 32 bits."""
    rows, columns = z.shape
    return rows <= 256 and rows < columns and z.numel() < 2**31


_BACKENDS: dict[str, Implementation] = {
    "cuda": _cuda,
    "triton": _triton,
    "cpu": _native,
    "reference": _reference,
}


def _able(z: Tensor) -> tuple[str, ...]:
    """The backends that take this case, if they run here at all: a GPU's have no float64."""
    names = names_on(z.device.type, _BACKENDS)
    return tuple(
        name for name in names if name not in ("triton", "cuda") or z.dtype != torch.float64
    )


def _backend_of(
    z: Tensor, formula: Formula, backend: str | None, passed_over: tuple[str, ...] = ()
) -> str:
    """``passed_over``: what is taken only when it is forced."""
    names = _able(z)
    if not backend and not z.is_cpu and z.shape[0] < z.shape[1] and needs_float64(formula):
        passed_over = ("cuda", "triton")
    if not backend:
        names = tuple(name for name in names if name not in passed_over)
    return choose_by_name(backend, z.device.type, names)


@torch.library.impl(_LIBRARY, "orthogonality", "CompositeExplicitAutograd")
def _orthogonality(
    z: Tensor,
    norm: str,
    scale: float | None,
    target: float,
    offdiag_weight: float,
    factor: float,
    eps: float,
    diagonal_weight: float,
    need_grad: bool,
    precision: str,
    backend: str | None,
) -> tuple[Tensor, Tensor]:
    formula = Formula(norm, scale, target, offdiag_weight, factor, eps, diagonal_weight)
    check_formula(formula, precision)
    check_latents(z)
    run = _BACKENDS[_backend_of(z, formula, backend)]
    with torch.autocast(z.device.type, enabled=False), float32_products(z.device.type, precision):
        return run(z, formula, need_grad, precision)


def orthogonality_of_rows(
    z: Tensor, own: OwnRows, need_grad: bool, backend: str | None, precision: str, formula: Formula
) -> tuple[Tensor, Tensor]:
    """Return the loss of the whole batch and ∂L/∂z of ``own`` rows (empty unless ``need_grad``).

    ``reference`` and ``triton`` work out these rows alone, and ``cpu`` with B < N; a kernel
    otherwise does them all.

    Args:
        z: (B, N) the whole batch, as in ``orthogonality_loss``.
        own: the rows, and the sum over the processes that have the others.
        need_grad: whether to work out the gradient.
        backend: a name from ``mflag.backends()``; None takes the fastest that runs here.
        precision: ``highest`` or ``tf32``.
        formula: the parameters of the loss.

    Raises:
        InputError: as ``orthogonality_loss``.
    """
    check_formula(formula, precision)
    check_latents(z)
    name = _backend_of(z, formula, backend, passed_over=("cuda",))  # it does all rows
    device = z.device.type
    with torch.autocast(device, enabled=False), float32_products(device, precision):
        if name == "reference":
            return orthogonality_reference(z, formula, need_grad, own)
        if name == "triton":
            return _triton(z, formula, need_grad, precision, own)
        if name == "cpu" and z.shape[0] < z.shape[1]:
            return _native_own_rows(z, formula, need_grad, own)
    arguments = (z, *formula, need_grad, precision, name)
    loss, gradient = torch.ops.mflag.orthogonality(*arguments)
    return loss, gradient[own.first : own.first + own.length]


@torch.library.register_fake("mflag::orthogonality", lib=_LIBRARY)
def _fake(z: Tensor, *arguments: object) -> tuple[Tensor, Tensor]:
    check_latents(z)
    need_grad = arguments[7]
    wide = widen(z)
    return wide.new_empty(()), wide.new_empty(z.shape if need_grad else 0)


def _differentiable(z: Tensor, *arguments: Any) -> Tensor:
    return orthogonality_formula(z, Formula(*arguments[:7]))


register_saved_gradient(_LIBRARY, "mflag::orthogonality", 1, _differentiable)
