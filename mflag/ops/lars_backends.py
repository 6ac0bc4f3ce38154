"""The backends of the LARS step: which take which tensors, and how each is called."""

import os
from collections.abc import Callable

import torch
from torch import Tensor

from mflag.ops.lars_foreach import step_tensors_
from mflag.ops.lars_reference import exact_dtype, step_tensor_
from mflag.ops.lars_rule import EXCLUDES, NORMS, LarsRule

Lists = tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]
Scalars = tuple[Tensor | None, Tensor | None, Tensor | None]


def _reference(lists: Lists, scalars: Scalars, rule: LarsRule) -> bool:
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


def _foreach(lists: Lists, scalars: Scalars, rule: LarsRule) -> bool:
    lr, grad_scale, found_inf = scalars
    step_tensors_(
        *lists,
        rule=rule,
        lr=lr,  # type: ignore[arg-type]
        grad_scale=grad_scale,
        found_inf=found_inf,
    )
    return True


def native(lists: Lists, scalars: Scalars, rule: LarsRule) -> bool:
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


def triton(lists: Lists, scalars: Scalars, rule: LarsRule, *carried: object) -> bool:
    """Step tensors that pair by memory order; ``carried``: sums, and the flag (kernels/lars.py)."""
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
    lars_step(params, grads, buffers, started, scalars, is_plain, formula, *carried)  # type: ignore[arg-type]
    return True


Backend = Callable[[Lists, Scalars, LarsRule], bool]


def _paired(step: Backend, lists: Lists, scalars: Scalars, rule: LarsRule) -> bool:
    """Step after copying what lies in memory in another order than its weight."""
    params, grads, buffers, started = lists
    dense = [w if is_dense(w) else w.contiguous() for w in params]
    paired = [in_layout_of(w, g) for w, g in zip(dense, grads, strict=True)]
    moved = [in_layout_of(w, m) for w, m in zip(dense, buffers, strict=False)]
    if not step((dense, paired, moved, started), scalars, rule):
        return False
    for original, used in (*zip(params, dense, strict=True), *zip(buffers, moved, strict=True)):
        if used is not original:
            original.copy_(used)
    return True


def _paired_native(lists: Lists, scalars: Scalars, rule: LarsRule) -> bool:
    return _paired(native, lists, scalars, rule)


def _paired_triton(lists: Lists, scalars: Scalars, rule: LarsRule) -> bool:
    return _paired(triton, lists, scalars, rule)


Dtypes = tuple[torch.dtype, ...]
_F32, _F64, _F16, _BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16
_TRITON_DTYPES = {_F32, _F64, _F16, _BF16}
# Of weight, gradient and, if there are any, buffer.
_CPU_DTYPES = {(x,) * n for x in (_F32, _F64) for n in (2, 3)}
_CUDA_DTYPES = {(x,) * n for x in (_F32, _F16, _BF16) for n in (2, 3)} | {
    (_F16, _F16, _F32),
    (_BF16, _BF16, _F32),
}


def implementations_for(device: str, dtypes: Dtypes) -> dict[str, Backend]:
    """The backends that take tensors of these (weight, gradient, buffer) dtypes."""
    found: dict[str, Backend] = {"reference": _reference, "foreach": _foreach}
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


def buckets(
    params: list[Tensor], grads: list[Tensor], buffers: list[Tensor]
) -> dict[tuple[torch.device, Dtypes], list[int]]:
    """Rows by device and by the dtypes of weight, gradient and buffer."""
    found: dict[tuple[torch.device, Dtypes], list[int]] = {}
    for i, row in enumerate(zip(*filter(None, (params, grads, buffers)), strict=True)):
        found.setdefault((row[0].device, tuple(x.dtype for x in row)), []).append(i)
    return found


def scalar_on(x: Tensor | None, device: torch.device) -> Tensor | None:
    """A () tensor of ``exact_dtype`` on ``device``; float32 on a GPU stays: a cast is a launch."""
    if x is None:
        return None
    if device.type == "cuda" and x.device == device and x.dtype == torch.float32:
        return x.reshape(())
    # The host would read a copy from the GPU before it has arrived.
    return x.reshape(()).to(device, exact_dtype(device), non_blocking=device.type == "cuda")


def is_dense(w: Tensor) -> bool:
    """Whether ``w`` fills its memory without gaps or overlaps, in whatever order."""
    return w.is_contiguous() or torch.empty_like(w).stride() == w.stride()


def in_layout_of(w: Tensor, x: Tensor) -> Tensor:
    """``x``, or a copy of it whose elements lie in memory as those of ``w``."""
    if x.stride() == w.stride() or (x.is_contiguous() and w.is_contiguous()):
        return x
    return torch.empty_like(w, dtype=x.dtype).copy_(x)
