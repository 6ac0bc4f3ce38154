"""The LARS step with weight norms carried from the step before: Triton kernels only."""

import os
from typing import Any

import torch
from torch import Tensor

from mflag.native import backends
from mflag.ops.lars_backends import (
    buckets,
    implementations_for,
    in_layout_of,
    is_dense,
    scalar_on,
    triton,
)
from mflag.ops.lars_rule import LarsRule


@torch.no_grad()
def lars_step_carried_(
    params: list[Tensor],
    grads: list[Tensor],
    momentum_buffers: list[Tensor],
    carried: list[Tensor],
    tripped: Tensor,
    *,
    lr: float | Tensor,
    started: list[Tensor],
    grad_scale: Tensor | None,
    found_inf: Tensor | None,
    **rule: Any,
) -> None:
    """Do one LARS step of tensors for which :func:`can_carry` holds, with carried weight norms.

    Args:
        params: as in :func:`lars_step_`; on one device.
        grads: as in :func:`lars_step_`.
        momentum_buffers: as in :func:`lars_step_`.
        carried: n (``carried_size(numel)``,) float64: what the step before left; NaN for nothing.
        tripped: () float32 on the device, set to 1 when a weight was not as the
            step before left it; the step is right all the same.
        lr: as in :func:`lars_step_`.
        started: as in :func:`lars_step_`; may be empty.
        grad_scale: as in :func:`lars_step_`.
        found_inf: as in :func:`lars_step_`.
        **rule: as in :func:`lars_step_`; ``norm`` is ``separate``.
    """
    if not isinstance(lr, Tensor):
        lr = torch.full((), lr, dtype=torch.float64, device=tripped.device)
    scalars = tuple(scalar_on(x, tripped.device) for x in (lr, grad_scale, found_inf))
    for rows in buckets(params, grads, momentum_buffers).values():
        taken = tuple(
            [x[i] for i in rows] if x else [] for x in (params, grads, momentum_buffers, started)
        )
        sums = [carried[i] for i in rows]
        triton(taken, scalars, LarsRule(**rule), sums, tripped)  # type: ignore[arg-type]
    torch.autograd.graph.increment_version([*params, *momentum_buffers])


def carried_size(numel: int) -> int:
    """Return how many sums are carried for a weight of ``numel`` values."""
    from mflag.kernels.lars_tables import CHUNK

    return max(1, -(-numel // CHUNK))


def can_carry(tensors: list[Tensor], backend: str | None) -> bool:
    """Whether the kernels step a weight, gradient and buffer with a carried norm.

    The CPU kernel reads a weight once for both its norm and its update and has nothing to save.
    """
    w = tensors[0]
    named = backend or os.environ.get("MFLAG_BACKEND")
    if named != "triton" and not (named is None and w.device.type == "cuda"):
        return False
    if backends()["triton"] is not True or not is_dense(w):
        return False
    if any(x.device != w.device or x.shape != w.shape for x in tensors):
        return False
    able = implementations_for(w.device.type, tuple(x.dtype for x in tensors))
    return "triton" in able and all(in_layout_of(w, x) is x for x in tensors)
