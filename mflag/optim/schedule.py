"""The learning rate as a function of the step: no state, so resuming needs none."""

import math

import torch

from mflag.errors import InputError

KINDS = ("constant", "cosine", "cosine_restarts")


def learning_rate_factor(
    step: int,
    total_steps: int,
    warmup_steps: int = 0,
    kind: str = "cosine",
    min_factor: float = 0.0,
) -> float:
    """Return what the base learning rate is multiplied by at one step.

    Args:
        step: steps already done, from 0; at ``total_steps`` and later the last value stays.
        total_steps: steps of the whole run; for ``cosine_restarts`` of one period.
        warmup_steps: steps of the linear rise: factor (step + 1) / warmup_steps.
        kind: ``constant``, ``cosine`` (half a cosine from 1 down to ``min_factor``) or
            ``cosine_restarts`` (that again in each period, without warm-up; Loshchilov and
            Hutter 2017, eq. 5, period multiplier 1).
        min_factor: where the cosine ends, as a share of the base learning rate.

    Raises:
        InputError: a value out of range, or an unknown kind.
    """
    if kind not in KINDS:
        raise InputError(f"schedule kind is {kind!r}; choose one of {', '.join(KINDS)}")
    if step < 0:
        raise InputError(f"step is {step!r}; give 0 or more")
    if total_steps < 1:
        raise InputError(f"total_steps is {total_steps!r}; give 1 or more")
    if not 0 <= warmup_steps <= total_steps:
        raise InputError(f"warmup_steps is {warmup_steps!r}; give 0 to {total_steps}")
    if kind == "cosine_restarts" and warmup_steps:
        raise InputError(f"warmup_steps is {warmup_steps!r}; cosine_restarts has none, give 0")
    if not 0 <= min_factor <= 1:
        raise InputError(f"min_factor is {min_factor!r}; give 0 to 1")

    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if kind == "constant":
        return 1.0
    if kind == "cosine_restarts":
        progress = step % total_steps / total_steps
    else:
        progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return min_factor + (1 - min_factor) * 0.5 * (1 + math.cos(math.pi * progress))


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's ``lr`` to ``factor`` times its ``initial_lr``.

    ``initial_lr`` is taken from ``lr`` on the first call, as torch's schedulers do. A tensor
    ``lr`` is written in place.

    Args:
        optimizer: any torch optimizer.
        factor: from :func:`learning_rate_factor`.
    """
    for group in optimizer.param_groups:
        lr = group["lr"]
        is_tensor = isinstance(lr, torch.Tensor)
        initial = group.setdefault("initial_lr", lr.clone() if is_tensor else lr)
        if is_tensor and not isinstance(initial, torch.Tensor):
            lr.fill_(initial * factor)
        elif is_tensor:
            lr.copy_(initial * factor)
        else:
            group["lr"] = float(initial) * factor
