"""The LARS step in plain PyTorch: any device, dtype and layout, no read-back to the host."""

import torch
from torch import Tensor

from mflag.ops.lars_rule import LarsRule

# Below torch's grain size of 32,768 one thread sums a row: the order, hence the bits, are fixed.
_ROW = 16_384


def step_tensor_(
    w: Tensor,
    g: Tensor,
    m: Tensor | None,
    started: Tensor | None,
    *,
    rule: LarsRule,
    lr: Tensor,
    grad_scale: Tensor | None,
    found_inf: Tensor | None,
) -> None:
    """Step one tensor in place, in float32 or wider.

    Args:
        w: the weight, any shape and float dtype; changed in place.
        g: its gradient, of the same shape.
        m: its momentum buffer, changed in place; None: no momentum.
        started: () 0 as long as ``m`` has seen no step, set to 1; None: it has, or dampening is 0.
        rule: the formula.
        lr: () γ.
        grad_scale: () g is divided by it; None: 1.
        found_inf: () not 0: nothing is written.
    """
    dtype = torch.promote_types(torch.promote_types(w.dtype, g.dtype), torch.float32)
    x, g = w.to(dtype), g.to(dtype)
    if grad_scale is not None:
        g = g / grad_scale
    if rule.maximize:
        g = -g
    buffer = None if m is None else m.to(dtype)
    new_buffer: Tensor | None
    if rule.norm == "momentum" and buffer is not None:
        new_buffer, new_weight = _momentum_norm(x, g, buffer, lr, rule)
    else:
        new_buffer, new_weight = _gradient_norm(x, g, buffer, started, lr, rule)

    write_(w, new_weight, found_inf)
    if m is not None and new_buffer is not None:
        write_(m, new_buffer, found_inf)
    if started is not None:
        write_(started, torch.ones_like(started), found_inf)


def _gradient_norm(
    w: Tensor, g: Tensor, m: Tensor | None, started: Tensor | None, lr: Tensor, rule: LarsRule
) -> tuple[Tensor | None, Tensor]:
    """The new buffer and the new weight where q comes from ‖g‖ or ‖d‖."""
    if rule.is_plain(w.ndim):
        u = g
    else:
        d = _decayed(g, w, rule)
        w_norm, divisor = norm(w), norm(g if rule.norm == "separate" else d)
        q, is_zero = trust_ratio(w_norm, divisor, lr, rule)
        u = q * d if rule.zero_norm == "keep_decay" else torch.where(is_zero, g, q * d)
    if rule.lr_in_momentum:
        u, lr = lr * u, torch.ones_like(lr)
    if m is None:
        return None, w - lr * u
    share = u
    if rule.dampening and started is not None:
        share = torch.where(started != 0, 1 - rule.dampening, 1.0) * u
    m = torch.add(share, m, alpha=rule.momentum)
    return m, w - lr * (torch.add(u, m, alpha=rule.momentum) if rule.nesterov else m)


def _momentum_norm(
    w: Tensor, g: Tensor, m: Tensor, lr: Tensor, rule: LarsRule
) -> tuple[Tensor, Tensor]:
    """The new buffer and the new weight where q comes from ‖m‖."""
    is_plain = rule.is_plain(w.ndim)
    d = g if is_plain else _decayed(g, w, rule)
    m = rule.momentum * m + (1 - rule.momentum) * d
    if is_plain:
        return m, w - lr * m
    q, _ = trust_ratio(norm(w), norm(m), lr, rule)
    return m, w - lr * q * m


def _decayed(g: Tensor, w: Tensor, rule: LarsRule) -> Tensor:
    """d; without decay just g, so that a non-finite weight does not spread."""
    return torch.add(g, w, alpha=rule.weight_decay) if rule.weight_decay else g


def trust_ratio(
    w_norm: Tensor, divisor: Tensor, lr: Tensor, rule: LarsRule
) -> tuple[Tensor, Tensor]:
    """Return q, 1 where a norm is zero by the variant's own test; and that test.

    Args:
        w_norm: ‖w‖, of one tensor or of several.
        divisor: ‖g‖, ‖d‖ or ‖m‖, of the same shape.
        lr: () γ.
        rule: the formula.
    """
    decay = rule.weight_decay * w_norm if rule.norm == "separate" else 0.0
    q = rule.trust_coefficient * w_norm / (divisor + decay + rule.eps)
    if rule.zero_norm == "keep_decay":
        is_zero = ~((w_norm > 0) & (divisor > 0))
    else:
        is_zero = (w_norm == 0) | (divisor == 0)
    clips_zero = rule.clip_zero_norm and rule.zero_norm == "keep_decay"
    if rule.trust_clip and not clips_zero:
        q = (q / lr).clamp(max=1)
    q = torch.where(is_zero, 1.0, q)
    if rule.trust_clip and clips_zero:
        q = (q / lr).clamp(max=1)
    return q, is_zero


def norm(x: Tensor) -> Tensor:
    """Return the L2 norm, () ``exact_dtype``: by rows in the dtype of ``x``, then in that."""
    x = x.reshape(-1)
    whole = x.numel() - x.numel() % _ROW
    rows = torch.linalg.vector_norm(x[:whole].view(-1, _ROW), dim=1)
    tail = torch.linalg.vector_norm(x[whole:]).reshape(1)
    return torch.cat([rows, tail]).to(exact_dtype(x.device)).square().sum().sqrt()


def exact_dtype(device: torch.device) -> torch.dtype:
    """Return what numbers are computed in: float64, but Apple's GPUs have no wider than float32."""
    return torch.float32 if device.type == "mps" else torch.float64


def write_(target: Tensor, value: Tensor, found_inf: Tensor | None) -> None:
    """Copy ``value`` into ``target``, unless ``found_inf`` is not 0."""
    if found_inf is not None:
        value = torch.where(found_inf != 0, target, value.to(target.dtype))
    target.copy_(value)
