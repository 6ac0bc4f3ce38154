"""The LARS step over a list of tensors: schema, checks, choice of backend."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mflag.errors import InputError
from mflag.ops.backend import choose_backend
from mflag.ops.lars_foreach import step_tensors_
from mflag.ops.lars_reference import exact_dtype, step_tensor_
from mflag.ops.lars_rule import EXCLUDES, NORMS, LarsRule, check_number

_LIBRARY = torch.library.Library("mflag", "FRAGMENT")
_LIBRARY.define(
    "lars_step_(Tensor(a!)[] params, Tensor[] grads, Tensor(b!)[] momentum_buffers,"
    " Tensor(c!)[] started, Tensor lr, Tensor? grad_scale=None, Tensor? found_inf=None,"
    " str? backend=None, *, float momentum=0.9, float dampening=0.0, float weight_decay=0.0,"
    " bool nesterov=False, float trust_coefficient=0.001, float eps=1e-8, str norm='separate',"
    " str zero_norm='plain', bool trust_clip=False, bool clip_zero_norm=False,"
    " str exclude='none', bool adapt_without_decay=False, bool lr_in_momentum=False,"
    " bool maximize=False) -> ()"
)


@torch.no_grad()
def lars_step_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor] = (),
    *,
    lr: float | Tensor,
    started: Sequence[Tensor] = (),
    grad_scale: Tensor | None = None,
    found_inf: Tensor | None = None,
    backend: str | None = None,
    **rule: Any,
) -> None:
    """Do one LARS step in place on every tensor of a list.

    Args:
        params: n weights of any shapes, float dtypes and devices; changed in place.
        grads: n gradients, each of its weight's shape and device; not changed.
        momentum_buffers: n buffers, zero before the first step; changed in place. Empty: no
            momentum, then ``momentum`` must be 0.
        lr: γ, 0 or more: a number, or a tensor of one element, whose value is checked on the CPU
            only.
        started: n () float32 flags on the weights' devices, 0 before the first step; set to 1.
            Needed only with ``dampening``, which the first step leaves out.
        grad_scale: () the gradients are divided by it, as GradScaler hands it over.
        found_inf: () not 0: nothing at all is written.
        backend: a name from ``mflag.backends()``; None takes the fastest that runs here.
        **rule: the fields of :class:`mflag.ops.lars_rule.LarsRule`, by name.

    Raises:
        InputError: lists of different lengths, shapes or devices, a sparse tensor, a dtype that
            is no float, a hyper-parameter out of range, or a forced backend that cannot run here.
    """
    if not isinstance(lr, Tensor):
        check_number("lr", lr, "0 or more", lambda x: x >= 0)
        # Born where it is read: a copy from the host would wait, and CUDA graphs refuse it.
        device = _reader_of_lr(params)
        lr = torch.full((), lr, dtype=exact_dtype(device), device=device)
    torch.ops.mflag.lars_step_(
        list(params), list(grads), list(momentum_buffers), list(started),
        lr, grad_scale, found_inf, backend, **rule,
    )  # fmt: skip


def _reader_of_lr(params: Sequence[Tensor]) -> torch.device:
    """The weights' device; among several the first accelerator, which must not wait for copies."""
    devices = [p.device for p in params if not p.is_cpu]
    return devices[0] if devices else torch.device("cpu")


_Lists = tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]
_Scalars = tuple[Tensor | None, Tensor | None, Tensor | None]


def _reference(lists: _Lists, scalars: _Scalars, rule: LarsRule) -> bool:
    params, grads, buffers, started = lists
    lr, grad_scale, found_inf = scalars
    for i, w in enumerate(params):
        step_tensor_(
            w,
            grads[i],
            buffers[i] if buffers else None,
            started[i].reshape(()) if started else None,
            rule=rule,
            lr=lr,  # type: ignore[arg-type]
            grad_scale=grad_scale,
            found_inf=found_inf,
        )
    return True


def _foreach(lists: _Lists, scalars: _Scalars, rule: LarsRule) -> bool:
    lr, grad_scale, found_inf = scalars
    step_tensors_(
        *lists,
        rule=rule,
        lr=lr,  # type: ignore[arg-type]
        grad_scale=grad_scale,
        found_inf=found_inf,
    )
    return True


def _native(lists: _Lists, scalars: _Scalars, rule: LarsRule) -> bool:
    """Step tensors that pair by memory order; False: these do not, and nothing was written.

    Raises:
        NotImplementedError: no kernel for their device or layout; nothing was written.
    """
    return torch.ops.mflag_native.lars_step_(
        *lists, *scalars,
        rule.momentum, rule.dampening, rule.weight_decay, rule.nesterov,
        rule.trust_coefficient, rule.eps,
        NORMS.index(rule.norm), rule.zero_norm == "plain", rule.trust_clip, rule.clip_zero_norm,
        EXCLUDES.index(rule.exclude), rule.adapt_without_decay, rule.lr_in_momentum, rule.maximize,
    )  # fmt: skip


def _triton(lists: _Lists, scalars: _Scalars, rule: LarsRule) -> bool:
    from mflag.kernels.lars import Rule, lars_step

    params, grads, buffers, started = lists
    numbers = (rule.momentum, rule.dampening, rule.weight_decay, rule.trust_coefficient, rule.eps)
    formula = Rule(
        *numbers,
        nesterov=rule.nesterov,
        norm=NORMS.index(rule.norm),
        zero_is_plain=rule.zero_norm == "plain",
        trust_clip=rule.trust_clip,
        clip_zero_norm=rule.clip_zero_norm,
        lr_in_momentum=rule.lr_in_momentum,
        maximize=rule.maximize,
    )
    is_plain = [rule.is_plain(w.ndim) for w in params]
    lars_step(params, grads, buffers, started, scalars, is_plain, formula)  # type: ignore[arg-type]
    return True


_Backend = Callable[[_Lists, _Scalars, LarsRule], bool]


def _paired(step: _Backend, lists: _Lists, scalars: _Scalars, rule: LarsRule) -> bool:
    """Step after copying what lies in memory in another order than its weight."""
    params, grads, buffers, started = lists
    dense = [w if _is_dense(w) else w.contiguous() for w in params]
    paired = [_in_layout_of(w, g) for w, g in zip(dense, grads, strict=True)]
    moved = [_in_layout_of(w, m) for w, m in zip(dense, buffers, strict=False)]
    if not step((dense, paired, moved, started), scalars, rule):
        return False
    for original, used in (*zip(params, dense, strict=True), *zip(buffers, moved, strict=True)):
        if used is not original:
            original.copy_(used)
    return True


def _paired_native(lists: _Lists, scalars: _Scalars, rule: LarsRule) -> bool:
    return _paired(_native, lists, scalars, rule)


def _paired_triton(lists: _Lists, scalars: _Scalars, rule: LarsRule) -> bool:
    return _paired(_triton, lists, scalars, rule)


_Dtypes = tuple[torch.dtype, ...]
_F32, _F64, _F16, _BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16
_TRITON_DTYPES = {_F32, _F64, _F16, _BF16}
# Of weight, gradient and, if there are any, buffer.
_CPU_DTYPES = {(x,) * n for x in (_F32, _F64) for n in (2, 3)}
_CUDA_DTYPES = {(x,) * n for x in (_F32, _F16, _BF16) for n in (2, 3)} | {
    (_F16, _F16, _F32),
    (_BF16, _BF16, _F32),
}


def _implementations(device: str, dtypes: _Dtypes) -> dict[str, _Backend]:
    """The backends that take tensors of these (weight, gradient, buffer) dtypes."""
    found: dict[str, _Backend] = {"reference": _reference, "foreach": _foreach}
    if device == "cpu" and dtypes in _CPU_DTYPES:
        found["cpu"] = _paired_native
    if device == "cuda" and dtypes in _CUDA_DTYPES:
        found["cuda"] = _paired_native
    runs_triton = device == "cuda" or (
        device == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
    )
    if runs_triton and _TRITON_DTYPES.issuperset(dtypes):
        found["triton"] = _paired_triton
    return found


@torch.library.impl(_LIBRARY, "lars_step_", "CompositeExplicitAutograd")
def _lars_step_(
    params: list[Tensor],
    grads: list[Tensor],
    momentum_buffers: list[Tensor],
    started: list[Tensor],
    lr: Tensor,
    grad_scale: Tensor | None = None,
    found_inf: Tensor | None = None,
    backend: str | None = None,
    **switches: Any,
) -> None:
    rule = LarsRule(**switches)
    lists = (params, grads, momentum_buffers, started)
    _check_lengths(lists, rule)
    _check_scalars(lr, grad_scale, found_inf)
    if not _step_at_once(lists, (lr, grad_scale, found_inf), rule, backend):
        _check_tensors(lists)
        for (device, dtypes), rows in _buckets(params, grads, momentum_buffers).items():
            scalars = tuple(_scalar(x, device) for x in (lr, grad_scale, found_inf))
            implementations = _implementations(device.type, dtypes)
            name = choose_backend(backend, device.type, implementations)
            taken = tuple([tensors[i] for i in rows] if tensors else [] for tensors in lists)
            if not implementations[name](taken, scalars, rule):  # type: ignore[arg-type]
                raise RuntimeError(f"backend {name!r} refused tensors that had passed all checks")
    # A kernel writes memory behind autograd's back.
    torch.autograd.graph.increment_version([*params, *momentum_buffers])


def _step_at_once(lists: _Lists, scalars: _Scalars, rule: LarsRule, backend: str | None) -> bool:
    """The usual case: all tensors on one device, of like dtypes, paired; checked in C++."""
    device = lists[0][0].device if lists[0] else torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        return False
    able = _implementations(device.type, (_F32, _F32))
    if choose_backend(backend, device.type, able) != device.type:
        return False
    scalars = tuple(_scalar(x, device) for x in scalars)  # type: ignore[assignment]
    try:
        return _native(lists, scalars, rule)
    except NotImplementedError:  # the dispatcher's, of a mix: the checks then say of what
        return False


@torch.library.register_fake("mflag::lars_step_", lib=_LIBRARY)
def _fake(
    params: list[Tensor],
    grads: list[Tensor],
    momentum_buffers: list[Tensor],
    started: list[Tensor],
    *_: Any,
    **__: Any,
) -> None:
    # One meta tensor in a list brings all of it here: it must not pass for a step that was done.
    _check_places((params, grads, momentum_buffers, started))


def _check_lengths(lists: _Lists, rule: LarsRule) -> None:
    params, grads, buffers, started = lists
    if len(grads) != len(params):
        raise InputError(f"grads has {len(grads)} tensors; give {len(params)}, one a weight")
    needs_buffers = rule.momentum != 0 or rule.norm == "momentum"
    if len(buffers) != len(params) and (buffers or needs_buffers):
        raise InputError(
            f"momentum_buffers has {len(buffers)} tensors; give {len(params)}, one a weight"
        )
    needs_flags = rule.dampening != 0 and bool(buffers)
    if len(started) != len(params) and (started or needs_flags):
        raise InputError(f"started has {len(started)} flags; give {len(params)}, one a weight")


def _check_scalars(lr: Tensor, grad_scale: Tensor | None, found_inf: Tensor | None) -> None:
    for name, x in (("lr", lr), ("grad_scale", grad_scale), ("found_inf", found_inf)):
        if x is not None and x.numel() != 1:
            raise InputError(f"{name} has shape {tuple(x.shape)}; give a tensor of one element")
    if lr.is_cpu:  # elsewhere it would be a read-back
        check_number("lr", lr.item(), "0 or more", lambda x: x >= 0)


def _check_places(lists: _Lists) -> None:
    params = lists[0]
    for name, tensors in zip(
        ("params", "grads", "momentum_buffers", "started"), lists, strict=True
    ):
        for i, (w, x) in enumerate(zip(params, tensors, strict=False)):
            if x.layout != torch.strided:
                raise InputError(f"{name}[{i}] is {x.layout}; give a dense tensor")
            if x.device != w.device:
                raise InputError(
                    f"{name}[{i}] is on {x.device}; give it on {w.device}, as its weight"
                )


def _check_tensors(lists: _Lists) -> None:
    _check_places(lists)
    params, grads, buffers, started = lists
    for name, tensors in (("params", params), ("grads", grads), ("momentum_buffers", buffers)):
        for i, (w, x) in enumerate(zip(params, tensors, strict=False)):
            if not x.dtype.is_floating_point:
                raise InputError(f"{name}[{i}] is {x.dtype}; give real floats")
            if x.shape != w.shape:
                raise InputError(
                    f"{name}[{i}] is {tuple(x.shape)}; give {tuple(w.shape)}, as its weight"
                )
    for i, flag in enumerate(started):
        if flag.dtype != torch.float32 or flag.numel() != 1:
            raise InputError(
                f"started[{i}] is {flag.dtype} of shape {tuple(flag.shape)}; give a () float32"
            )


def _buckets(
    params: list[Tensor], grads: list[Tensor], buffers: list[Tensor]
) -> dict[tuple[torch.device, _Dtypes], list[int]]:
    """Rows by device and by the dtypes of weight, gradient and buffer."""
    found: dict[tuple[torch.device, _Dtypes], list[int]] = {}
    for i, row in enumerate(zip(*filter(None, (params, grads, buffers)), strict=True)):
        found.setdefault((row[0].device, tuple(x.dtype for x in row)), []).append(i)
    return found


def _scalar(x: Tensor | None, device: torch.device) -> Tensor | None:
    """A () tensor of ``exact_dtype`` on ``device``; float32 on a GPU stays: a cast is a launch."""
    if x is None:
        return None
    if device.type == "cuda" and x.device == device and x.dtype == torch.float32:
        return x.reshape(())
    # The host would read a copy from the GPU before it has arrived.
    return x.reshape(()).to(device, exact_dtype(device), non_blocking=device.type == "cuda")


def _is_dense(w: Tensor) -> bool:
    """Whether ``w`` fills its memory without gaps or overlaps, in whatever order."""
    return w.is_contiguous() or torch.empty_like(w).stride() == w.stride()


def _in_layout_of(w: Tensor, x: Tensor) -> Tensor:
    """``x``, or a copy of it whose elements lie in memory as those of ``w``."""
    if x.stride() == w.stride() or (x.is_contiguous() and w.is_contiguous()):
        return x
    return torch.empty_like(w, dtype=x.dtype).copy_(x)
