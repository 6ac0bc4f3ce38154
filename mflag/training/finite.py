"""Weights and statistics that are not numbers are not kept."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from mflag.errors import NonFiniteError


def check_finite_state(state: Any, done: int) -> None:
    """Refuse a state with a NaN or an infinity; one wait for the device, whatever the number.

    Args:
        state: nested dicts of tensors and other things.
        done: steps done, for the message.

    Raises:
        NonFiniteError: with the name of the first such tensor.
    """
    named = [(n, t) for n, t in _tensors(state, "state") if t.is_floating_point() and t.numel()]
    by_device: dict[torch.device, list[tuple[str, Tensor]]] = {}
    for name, tensor in named:
        by_device.setdefault(tensor.device, []).append((name, tensor))
    for group in by_device.values():
        are_finite = torch.stack([tensor.isfinite().all() for _, tensor in group]).tolist()
        for (name, _), is_finite in zip(group, are_finite, strict=True):
            if not is_finite:
                raise NonFiniteError(
                    f"{name} became NaN or infinite at or before step {done}; lower optim.lr or "
                    "set compute.precision=fp32; the checkpoints on disk are from before"
                )


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _tensors(inner, f"{name}.{key}")
