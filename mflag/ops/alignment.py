"""Alignment loss: schema, checks, choice of backend, reference, autograd."""

from collections.abc import Callable
from typing import NoReturn

import torch
from torch import Tensor

from mflag.errors import InputError
from mflag.ops.arguments import check_backend, check_finite, check_tensor
from mflag.ops.backend import choose_by_name, names_on
from mflag.ops.orthogonality import check_latents
from mflag.ops.orthogonality_reference import Normalised, normalise, widen
from mflag.ops.saved_gradient import register_saved_gradient

EPS = 1e-12  # as torch.nn.functional.normalize

Results = tuple[Tensor, Tensor, Tensor]
Implementation = Callable[[Tensor, Tensor, Tensor | None, float, tuple[bool, bool]], Results]

_LIBRARY = torch.library.Library("mflag", "FRAGMENT")
_LIBRARY.define(
    "alignment(Tensor z_a, Tensor z_t, Tensor? index, float factor, "
    "bool need_grad_a, bool need_grad_t, str? backend) "
    "-> (Tensor loss, Tensor gradient_a, Tensor gradient_t)"
)


def alignment_loss(
    z_a: Tensor,
    z_t: Tensor,
    index: Tensor | None = None,
    *,
    factor: float = 1.0,
    backend: str | None = None,
) -> Tensor:
    """Return factor · mean_b (2 − 2⟨z_a,b/‖z_a,b‖, z_t,b/‖z_t,b‖⟩) (Eq. 2 of the paper).

    Args:
        z_a: (B, D) projected image embeddings, a float dtype; computed in float32 or float64.
        z_t: (B, D) text embeddings, or with ``index`` a frozen table (M, D).
        index: (B,) int64 rows of the table; None pairs the rows in order.
        factor: 1 in the paper, 2 in the authors' code.
        backend: a name from ``mflag.backends()``; None takes the fastest that runs here.

    Returns:
        () float32 (float64 for float64 ``z_a``). Without ``index``, ``z_t`` gets its gradient too
        when it requires one (text layers in training).

    Raises:
        InputError: shapes or dtypes do not fit, an index is outside the table, or the table
            requires a gradient.
    """
    check_tensor("z_a", z_a)
    check_tensor("z_t", z_t)
    if index is not None:
        check_tensor("index", index, "an int64 tensor")
    _check_frozen(index, z_t.requires_grad)
    check_finite("factor", factor)
    check_backend(backend)
    is_recorded = torch.is_grad_enabled()
    loss, _, _ = torch.ops.mflag.alignment(
        z_a,
        z_t,
        index,
        factor,
        is_recorded and z_a.requires_grad,
        is_recorded and z_t.requires_grad,
        backend,
    )
    return loss


def _check(z_a: Tensor, z_t: Tensor, index: Tensor | None, factor: float) -> None:
    check_latents(z_a, "z_a")
    check_latents(z_t, "z_t")
    check_finite("factor", factor)
    if z_t.device != z_a.device or (index is not None and index.device != z_a.device):
        devices = [str(tensor.device) for tensor in (z_a, z_t, index) if tensor is not None]
        raise InputError(f"inputs are on {', '.join(devices)}; give all of them on one device")
    if z_a.shape[1] != z_t.shape[1]:
        raise InputError(
            f"z_a has {z_a.shape[1]} columns but z_t has {z_t.shape[1]}; give the same dimension"
        )
    if index is None:
        if z_a.shape[0] != z_t.shape[0]:
            raise InputError(
                f"z_a has {z_a.shape[0]} rows but z_t has {z_t.shape[0]}; give pairs, or an index"
            )
    elif index.dtype != torch.int64 or index.shape != z_a.shape[:1]:
        raise InputError(
            f"index is {tuple(index.shape)} {index.dtype}; give ({z_a.shape[0]},) torch.int64"
        )


def _check_frozen(index: Tensor | None, needs_gradient: bool) -> None:
    if index is not None and needs_gradient:
        raise InputError("table requires a gradient; give a frozen one, or pairs without index")


def _check_range(index: Tensor, rows: int) -> None:
    """Look at the values on the CPU; a GPU checks them itself, without a stop here."""
    if index.device.type != "cpu":
        assert_range(index, rows)
        return
    low, high = index.min().item(), index.max().item()
    if low < 0 or high >= rows:
        _refuse_row(low if low < 0 else high, rows)


def _refuse_row(row: int | float, rows: int) -> NoReturn:
    raise InputError(f"index holds {row!r}; the table has rows 0 to {rows - 1}")


def assert_range(index: Tensor, rows: int) -> None:
    """Let the device fail on an index outside 0 to rows − 1: a negative one would wrap around."""
    is_inside = ((index >= 0) & (index < rows)).all()
    torch._assert_async(is_inside, f"an index is outside of the table's rows 0 to {rows - 1}")


def _reference(
    z_a: Tensor, z_t: Tensor, index: Tensor | None, factor: float, wanted: tuple[bool, bool]
) -> Results:
    if index is not None:
        _check_range(index, z_t.shape[0])
    with torch.autocast(z_a.device.type, enabled=False):
        a = normalise(widen(z_a), "sample", EPS)
        t = normalise((z_t if index is None else z_t[index]).to(a.x.dtype), "sample", EPS)
        cosine = (a.x * t.x).sum(1, keepdim=True)
        loss = factor * (2 - 2 * cosine.double()).mean()
        slope = -2 * factor / z_a.shape[0]
        gradient_a = slope * _projected(t.x, a, cosine) if wanted[0] else a.x.new_empty(0)
        gradient_t = slope * _projected(a.x, t, cosine) if wanted[1] else a.x.new_empty(0)
        return loss.to(a.x.dtype), gradient_a, gradient_t


def _projected(other: Tensor, own: Normalised, cosine: Tensor) -> Tensor:
    projected = (other - torch.where(own.is_projected, cosine, 0) * own.x) / own.r
    return projected.contiguous()  # as the kernels', whatever the strides of the inputs


def _native(
    z_a: Tensor, z_t: Tensor, index: Tensor | None, factor: float, wanted: tuple[bool, bool]
) -> Results:
    loss, gradient_a, gradient_t, outside = torch.ops.mflag_native.alignment(
        z_a, z_t, index, factor, *wanted
    )
    if index is not None and outside >= 0:
        _refuse_row(index[outside].item(), z_t.shape[0])
    return loss, gradient_a, gradient_t


def _triton(
    z_a: Tensor, z_t: Tensor, index: Tensor | None, factor: float, wanted: tuple[bool, bool]
) -> Results:
    from mflag.kernels.alignment import alignment

    return alignment(z_a, z_t, index, factor, wanted)


_BACKENDS: dict[str, Implementation] = {
    "cuda": _native,
    "triton": _triton,
    "cpu": _native,
    "reference": _reference,
}


@torch.library.impl(_LIBRARY, "alignment", "CompositeExplicitAutograd")
def _alignment(
    z_a: Tensor,
    z_t: Tensor,
    index: Tensor | None,
    factor: float,
    need_grad_a: bool,
    need_grad_t: bool,
    backend: str | None,
) -> Results:
    _check(z_a, z_t, index, factor)
    _check_frozen(index, need_grad_t)
    device = z_a.device.type
    run = _BACKENDS[choose_by_name(backend, device, names_on(device, _BACKENDS))]
    return run(z_a, z_t, index, factor, (need_grad_a, need_grad_t))


@torch.library.register_fake("mflag::alignment", lib=_LIBRARY)
def _fake(
    z_a: Tensor,
    z_t: Tensor,
    index: Tensor | None,
    factor: float,
    need_grad_a: bool,
    need_grad_t: bool,
    backend: str | None,
) -> Results:
    _check(z_a, z_t, index, factor)
    _check_frozen(index, need_grad_t)
    wide = widen(z_a)
    shapes = [(), z_a.shape if need_grad_a else (0,), z_t.shape if need_grad_t else (0,)]
    loss, gradient_a, gradient_t = (wide.new_empty(shape) for shape in shapes)
    return loss, gradient_a, gradient_t


def _formula(z_a: Tensor, z_t: Tensor, index: Tensor | None, factor: float, *_: object) -> Tensor:
    a = normalise(widen(z_a), "sample", EPS).x
    t = normalise((z_t if index is None else z_t[index]).to(a.dtype), "sample", EPS).x
    return factor * (2 - 2 * (a * t).sum(1)).mean()


register_saved_gradient(_LIBRARY, "mflag::alignment", 2, _formula)
