"""The LARS step over a list of tensors: schema, checks, choice of backend."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mflag.errors import InputError
from mflag.ops.arguments import check_backend
from mflag.ops.backend import choose_by_name
from mflag.ops.lars_backends import Lists, Scalars, buckets, implementations_for, native, scalar_on
from mflag.ops.lars_reference import exact_dtype
from mflag.ops.lars_rule import LarsRule, check_number

_LISTS = ("params", "grads", "momentum_buffers", "started")
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
    lists = (params, grads, momentum_buffers, started)
    _check_lists(lists)
    if not isinstance(lr, Tensor):
        check_number("lr", lr, "0 or more", lambda x: x >= 0)
        # Born where it is read: a copy from the host would wait, and CUDA graphs refuse it.
        device = _reader_of_lr(params)
        lr = torch.full((), lr, dtype=exact_dtype(device), device=device)
    try:
        torch.ops.mflag.lars_step_(
            *map(list, lists), lr, grad_scale, found_inf, backend, **rule,
        )  # fmt: skip
    except (RuntimeError, TypeError):
        check_backend(backend)
        _check_types(lists, (grad_scale, found_inf))
        LarsRule(**rule)
        raise


def _check_lists(lists: Sequence[Any]) -> None:
    for name, tensors in zip(_LISTS, lists, strict=True):
        # The rows of one tensor would each be stepped with a norm of its own.
        if isinstance(tensors, Tensor) or not hasattr(tensors, "__len__"):
            raise InputError(f"{name} is of type {type(tensors).__name__}; give a list of tensors")


def _check_types(lists: Sequence[Any], scalars: Sequence[Any]) -> None:
    """Say in a line what the schema of the op refused in ten."""
    for name, tensors in zip(_LISTS, lists, strict=True):
        for i, x in enumerate(tensors):
            if not isinstance(x, Tensor):
                raise InputError(f"{name}[{i}] is of type {type(x).__name__}; give a tensor")
    for name, x in zip(("grad_scale", "found_inf"), scalars, strict=True):
        if x is not None and not isinstance(x, Tensor):
            raise InputError(f"{name} is {x!r}; give a tensor of one element, or None")


def _reader_of_lr(params: Sequence[Tensor]) -> torch.device:
    """The weights' device; among several the first accelerator, which must not wait for copies."""
    devices = [p.device for p in params if isinstance(p, Tensor) and not p.is_cpu]
    return devices[0] if devices else torch.device("cpu")


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
        for (device, dtypes), rows in buckets(params, grads, momentum_buffers).items():
            scalars = tuple(scalar_on(x, device) for x in (lr, grad_scale, found_inf))
            implementations = implementations_for(device.type, dtypes)
            name = choose_by_name(backend, device.type, tuple(implementations))
            taken = tuple([tensors[i] for i in rows] if tensors else [] for tensors in lists)
            if not implementations[name](taken, scalars, rule):  # type: ignore[arg-type]
                raise RuntimeError(f"backend {name!r} refused tensors that had passed all checks")
    # A kernel writes memory behind autograd's back.
    torch.autograd.graph.increment_version([*params, *momentum_buffers])


def _step_at_once(lists: Lists, scalars: Scalars, rule: LarsRule, backend: str | None) -> bool:
    """The usual case: all tensors on one device, of like dtypes, paired; checked in C++."""
    device = lists[0][0].device if lists[0] else torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        return False
    able = implementations_for(device.type, (torch.float32,) * 2)
    if choose_by_name(backend, device.type, tuple(able)) != device.type:
        return False
    scalars = tuple(scalar_on(x, device) for x in scalars)  # type: ignore[assignment]
    try:
        return native(lists, scalars, rule)
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
    kinds = {w.device.type for w in params}
    if "meta" in kinds and len(kinds) > 1:
        raise InputError(f"params are on {' and '.join(sorted(kinds))}; step those on meta apart")
    _check_places((params, grads, momentum_buffers, started))


def _check_lengths(lists: Lists, rule: LarsRule) -> None:
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


def _check_places(lists: Lists) -> None:
    params = lists[0]
    for name, tensors in zip(_LISTS, lists, strict=True):
        for i, (w, x) in enumerate(zip(params, tensors, strict=False)):
            if x.layout != torch.strided:
                raise InputError(f"{name}[{i}] is {x.layout}; give a dense tensor")
            if x.device != w.device:
                raise InputError(
                    f"{name}[{i}] is on {x.device}; give it on {w.device}, as its weight"
                )


def _check_tensors(lists: Lists) -> None:
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
