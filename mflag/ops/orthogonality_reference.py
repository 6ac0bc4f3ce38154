"""The orthogonality loss in the formula's own words: plain PyTorch, any device.

    x = z normalised (B, N),  C = xᵀx/s,  d_i = C_ii,  K = xxᵀ
    L = a [ δ Σ_i (d_i − t)² + λ Σ_{i≠j} C_ij² ] = a [ δ Σ_i (d_i − t)² + λ (‖K‖²/s² − Σ_i d_i²) ]
    ∂L/∂x = (4a/s) [ λ K x/s + x·diag(c) ],  c_i = δ (d_i − t) − λ d_i

The identity ‖xᵀx‖ = ‖xxᵀ‖ is in Garrido et al., ICLR 2023 (arXiv 2206.02574).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

VARIANCE_EPS = 1e-5


class Formula(NamedTuple):
    """The parameters of the loss: norm, s (None: B), t, λ, a, ε of the norms, and δ."""

    norm: str
    scale: float | None
    target: float
    offdiag_weight: float
    factor: float
    eps: float
    diagonal_weight: float = 1.0


class Normalised(NamedTuple):
    """x = z/r with what its backward needs.

    ``is_projected`` is False where r is ε: there x is not on the unit sphere.
    """

    x: Tensor
    r: Tensor
    is_projected: Tensor


class OwnRows(NamedTuple):
    """The rows of the batch whose gradient is asked for, and how to add up over all the others.

    ``first``, ``length``: where they lie. ``total``: adds a tensor up over all who have rows.
    """

    first: int
    length: int
    total: Callable[[Tensor], Tensor]

    def of(self, tensor: Tensor) -> Tensor:
        """Return these rows of a tensor of all rows; one that has a single row belongs to all."""
        return tensor if tensor.shape[0] == 1 else tensor[self.first : self.first + self.length]


def widen(z: Tensor) -> Tensor:
    """Return z in the dtype of the arithmetic: float64 stays, everything else is float32."""
    return z if z.dtype == torch.float64 else z.float()


def standardize(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``(x, r)``: columns with zero mean and unit biased variance, and r = √(var + ε).

    In float64, and rounded once: a rounded r would shift the whole diagonal of C.
    """
    centred = z - z.mean(0, dtype=torch.float64)
    r = (centred.square().mean(0, keepdim=True) + VARIANCE_EPS).sqrt()
    return (centred / r).to(z.dtype), r.to(z.dtype)


def normalise(z: Tensor, norm: str, eps: float) -> Normalised:
    """Return x for one of the five norms."""
    if norm in ("none", "center"):
        one = z.new_ones(1, 1)
        x = z if norm == "none" else (z - z.mean(0, dtype=torch.float64)).to(z.dtype)
        return Normalised(x, one, one < 0)
    if norm == "standardize":
        x, r = standardize(z)
        return Normalised(x, r, r > 0)
    # The square is compared, not the root: its second derivative is finite at a zero row too.
    squared = z.double().square().sum(1 if norm == "sample" else 0, keepdim=True)
    is_projected = squared >= eps**2
    r = torch.where(is_projected, squared, squared.new_full((), eps**2)).sqrt()
    return Normalised((z / r).to(z.dtype), r.to(z.dtype), is_projected)


def needs_float64(formula: Formula) -> bool:
    """Whether the dual's value and gradient may be small differences of large products.

    A small δ, and a few columns that carry nearly everything.
    """
    return formula.diagonal_weight < formula.offdiag_weight / 4


def orthogonality_formula(z: Tensor, formula: Formula) -> Tensor:
    """Return the loss as a differentiable expression."""
    x = normalise(widen(z), formula.norm, formula.eps).x
    rows, columns = x.shape
    s, λ = formula.scale or rows, formula.offdiag_weight
    gram = (x @ x.T if rows < columns else x.T @ x) / s
    d = x.square().sum(0) / s
    on_diagonal = formula.diagonal_weight * (d - formula.target).square().sum()
    return formula.factor * (on_diagonal + λ * (gram.square().sum() - d.square().sum()))


def orthogonality_reference(
    z: Tensor, formula: Formula, need_grad: bool, own: OwnRows | None = None
) -> tuple[Tensor, Tensor]:
    """Return the loss and ∂L/∂z (empty unless ``need_grad``), in the dtype of the arithmetic.

    With ``own``, z is the whole batch and the gradient that of these rows alone; B < N: only their
    rows of K are formed.
    """
    rows, columns = z.shape
    dtype, is_dual = widen(z).dtype, rows < columns
    wide = z.double() if is_dual and needs_float64(formula) else widen(z)
    normalised = normalise(wide, formula.norm, formula.eps)
    own = own or OwnRows(0, rows, lambda part: part)
    value_and_product = _dual if is_dual else _primal
    loss, product, left_out = value_and_product(normalised, formula, need_grad, own)
    if product is None:
        return loss.to(dtype), normalised.x.new_empty(0, dtype=dtype)
    own_normalised = Normalised(*map(own.of, normalised))
    gradient = through_norm(product, left_out, own_normalised, formula.norm, rows, own.total)
    gradient *= 4 * formula.factor / (formula.scale or rows)
    return loss.to(dtype), gradient.to(dtype)


def _dual(
    normalised: Normalised, formula: Formula, need_grad: bool, own: OwnRows
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return the loss, own rows of M·x and the multiple of x that M leaves out: nothing N × N.

    Multiples of x_b (sample) or of x_i (feature, standardize) vanish in the backward of the norm.
    They are left out here: added and subtracted again in float32 they would cost 330 × in accuracy
    near the optimum.
    """
    x, _, is_projected = normalised
    norm, t, λ, δ = formula.norm, formula.target, formula.offdiag_weight, formula.diagonal_weight
    s = formula.scale or x.shape[0]
    is_whole = λ == δ == 1  # then L = a ‖C − t‖²
    K = own.of(x) @ x.T
    diagonal = _sum_of_squares(x, 1)
    if is_whole and norm == "sample":
        diagonal = torch.where(is_projected[:, 0] & (diagonal > 0), 1.0, diagonal)  # exact
    K.diagonal(own.first).zero_()
    squares = (own.total(K.double().square().sum()) + diagonal.square().sum()) / s**2
    if is_whole:  # the d_i drop out: no sums over columns, and no cancellation
        loss = squares - 2 * t * diagonal.sum() / s + x.shape[1] * t**2
        d, c = None, diagonal.new_full((), -t)
    else:
        d = _sum_of_squares(x, 0) / s
        loss = δ * (d - t).square().sum() + λ * (squares - d.square().sum())
        c = δ * (d - t) - λ * d
    loss *= formula.factor
    if not need_grad:
        return loss, None, diagonal

    M = (λ / s) * K
    if norm == "sample":
        product = M @ x
        if d is not None:
            product += own.of(x) * ((δ - λ) * d).to(x.dtype)
        return loss, product, own.of((λ / s * diagonal - δ * t).to(x.dtype)[:, None])
    α = diagonal.new_full((), t * s) if is_whole and norm == "none" else diagonal.mean()
    M.diagonal(own.first).copy_(own.of(λ / s * (diagonal - α)))
    return loss, M @ x, (c + λ / s * α).to(x.dtype)


def _primal(
    normalised: Normalised, formula: Formula, need_grad: bool, own: OwnRows
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return the loss, own rows of x·W, and the multiple of x left out.

    W_ii = δ(d_i − t), W_ij = λC_ij.
    """
    x, δ = normalised.x, formula.diagonal_weight
    s = formula.scale or x.shape[0]
    C = x.T @ x / s
    C.diagonal().zero_()
    excess = _sum_of_squares(x, 0) / s - formula.target
    loss = δ * excess.square().sum()
    loss = formula.factor * (loss + formula.offdiag_weight * C.double().square().sum())
    if not need_grad:
        return loss, None, excess
    W = formula.offdiag_weight * C
    excess *= δ
    if formula.norm in ("feature", "standardize"):
        return loss, own.of(x) @ W, excess.to(x.dtype)
    α = excess.mean()
    W.diagonal().copy_(excess - α)
    return loss, own.of(x) @ W, α.to(x.dtype)


def _sum_of_squares(x: Tensor, dim: int) -> Tensor:
    # In float64: near the optimum the loss and its gradient are differences of these and t.
    return torch.linalg.vector_norm(x, dim=dim, dtype=torch.float64).square()


def through_norm(
    product: Tensor,
    left_out: Tensor,
    normalised: Normalised,
    norm: str,
    rows: int,
    total: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return ∂L/∂z for ∂L/∂x = product + left_out·x, both of them linear in what comes in.

    Args:
        product: (own rows, N).
        left_out: what multiplies x, of a row, a column or all.
        normalised: of the own rows.
        norm: as in ``normalise``.
        rows: of the whole batch.
        total: adds a tensor up over all who have rows.
    """
    x, r, is_projected = normalised
    if norm == "none":
        return product + left_out * x
    if norm == "center":
        return product - total(product.sum(0)) / rows + left_out * x
    if norm == "sample":
        radial = (x * product).sum(1, keepdim=True)
    elif norm == "feature":
        radial = total((x * product).sum(0, keepdim=True))
    else:
        mean, radial = total(torch.stack([product.sum(0), (x * product).sum(0)])) / rows
        return (product - mean - x * radial + x * left_out * (VARIANCE_EPS / r.square())) / r
    return (product + torch.where(is_projected, -radial, left_out) * x) / r
