"""The LARS step by torch's foreach operations: for devices without a kernel of ours.

The operations are those of :mod:`mflag.ops.lars_reference`, each for all tensors at once, so the
bits are the same.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mflag.ops.lars_reference import norm, trust_ratio, write_
from mflag.ops.lars_rule import LarsRule

_Values = list[Tensor] | tuple[Tensor, ...]


def step_tensors_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    buffers: Sequence[Tensor],
    started: Sequence[Tensor],
    *,
    rule: LarsRule,
    lr: Tensor,
    grad_scale: Tensor | None,
    found_inf: Tensor | None,
) -> None:
    """Step tensors of one device and like dtypes in place, in float32 or wider.

    Args:
        params: n weights, any shapes and strides; changed in place.
        grads: n gradients, of their shapes.
        buffers: n momentum buffers, changed in place; empty: no momentum.
        started: n () 0 as long as the buffer has seen no step, set to 1; empty: all have.
        rule: the formula.
        lr: () γ.
        grad_scale: () the gradients are divided by it; None: 1.
        found_inf: () not 0: nothing is written.
    """
    for is_plain in (False, True):
        rows = [i for i, w in enumerate(params) if rule.is_plain(w.ndim) == is_plain]
        if not rows:
            continue
        w, g, m, flags = (
            [x[i] for i in rows] if x else [] for x in (params, grads, buffers, started)
        )
        dtype = torch.promote_types(torch.promote_types(w[0].dtype, g[0].dtype), torch.float32)
        x, scaled = [t.to(dtype) for t in w], _scaled([t.to(dtype) for t in g], grad_scale, rule)
        wide = [t.to(dtype) for t in m]
        if rule.norm == "momentum":
            new_m, new_w = _momentum_norm(x, scaled, wide, lr, rule, is_plain)
        else:
            new_m, new_w = _gradient_norm(x, scaled, wide, flags, lr, rule, is_plain)
        _write_all_(w, new_w, found_inf)
        _write_all_(m, new_m, found_inf)
        _write_all_(flags, [torch.ones_like(flag) for flag in flags], found_inf)


def _scaled(g: _Values, grad_scale: Tensor | None, rule: LarsRule) -> _Values:
    if grad_scale is not None:
        g = torch._foreach_div(g, [grad_scale] * len(g))
    return torch._foreach_neg(g) if rule.maximize else g


def _gradient_norm(
    w: _Values, g: _Values, m: _Values, started: _Values, lr: Tensor, rule: LarsRule, is_plain: bool
) -> tuple[_Values, _Values]:
    """The new buffers and weights where q comes from ‖g‖ or ‖d‖."""
    u = g if is_plain else _adapted(w, g, lr, rule)
    if rule.lr_in_momentum:
        u, lr = _times(u, lr), torch.ones_like(lr)
    if not m:
        return [], torch._foreach_sub(w, _times(u, lr))
    share = u
    if rule.dampening and started:
        factors = [torch.where(x.reshape(()) != 0, 1 - rule.dampening, 1.0) for x in started]
        share = torch._foreach_mul(u, factors)
    m = torch._foreach_add(share, m, alpha=rule.momentum)
    s = torch._foreach_add(u, m, alpha=rule.momentum) if rule.nesterov else m
    return m, torch._foreach_sub(w, _times(s, lr))


def _adapted(w: _Values, g: _Values, lr: Tensor, rule: LarsRule) -> _Values:
    d = _decayed(g, w, rule)
    q, is_zero = _trust_ratios(w, g if rule.norm == "separate" else d, lr, rule)
    u = torch._foreach_mul(d, q)
    if rule.zero_norm == "keep_decay":
        return u
    return [torch.where(z, a, b) for z, a, b in zip(is_zero, g, u, strict=True)]


def _momentum_norm(
    w: _Values, g: _Values, m: _Values, lr: Tensor, rule: LarsRule, is_plain: bool
) -> tuple[_Values, _Values]:
    """The new buffers and weights where q comes from ‖m‖."""
    d = g if is_plain else _decayed(g, w, rule)
    m = torch._foreach_add(
        torch._foreach_mul(m, rule.momentum), torch._foreach_mul(d, 1 - rule.momentum)
    )
    if is_plain:
        return m, torch._foreach_sub(w, _times(m, lr))
    q, _ = _trust_ratios(w, m, lr, rule)
    return m, torch._foreach_sub(w, torch._foreach_mul(m, [lr * x for x in q]))


def _decayed(g: _Values, w: _Values, rule: LarsRule) -> _Values:
    return torch._foreach_add(g, w, alpha=rule.weight_decay) if rule.weight_decay else g


def _trust_ratios(
    w: _Values, divided_by: _Values, lr: Tensor, rule: LarsRule
) -> tuple[_Values, _Values]:
    w_norms, divisors = (torch.stack([norm(x) for x in values]) for values in (w, divided_by))
    q, is_zero = trust_ratio(w_norms, divisors, lr, rule)
    return q.unbind(), is_zero.unbind()


def _times(x: _Values, factor: Tensor) -> _Values:
    return torch._foreach_mul(x, [factor] * len(x))


def _write_all_(targets: _Values, values: _Values, found_inf: Tensor | None) -> None:
    if found_inf is None and targets:
        torch._foreach_copy_(targets, values)
        return
    for target, value in zip(targets, values, strict=True):
        write_(target, value, found_inf)
