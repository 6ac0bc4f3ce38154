"""What is timed: one op on one shape, by our backends and by the peers."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import mflag

BACKENDS = {"cpu": ("reference", "cpu"), "cuda": ("reference", "triton", "cuda")}


@dataclass(frozen=True)
class Call:
    """One way to do the work.

    ``run`` is forward and backward, or one optimizer step; ``forward`` the value alone. ``result``
    starts from the same tensors every time and returns what is compared: (value, gradients...).
    ``same_formula`` is False for a peer that computes another value, as solo-learn's VICReg does.
    """

    run: Callable[[], object]
    forward: Callable[[], object] | None = None
    result: Callable[[], Sequence[Tensor]] | None = None
    same_formula: bool = True


@dataclass
class Workload:
    """One op, shape and dtype.

    ``bytes_moved`` and ``flops`` are what the formula needs at least, in both directions; the same
    for everyone. ``exact`` gives the float64 result on the same inputs. ``unit_bytes`` is what a
    memory target counts in.
    """

    op: str
    shape: str
    dtype: str
    bytes_moved: int
    flops: int
    unit_bytes: int | None = None
    ours: dict[str, Call] = field(default_factory=dict)
    peers: dict[str, Call] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    configuration: dict[str, str] = field(default_factory=dict)
    exact: Callable[[], Sequence[Tensor]] | None = None

    def add_ours(self, device: str, build: Callable[[str], Call]) -> None:
        """Add every backend that takes this work; the others are skipped with the reason."""
        for backend in BACKENDS[device]:
            able = mflag.backends()[backend]
            if able is True:
                self._add(self.ours, backend, lambda backend=backend: build(backend))  # type: ignore[misc]
            else:
                self.skipped[backend] = str(able)

    def add_peer(self, name: str, build: Callable[[], Call]) -> None:
        """Add a peer; one that is not installed or does not run is skipped with the reason."""
        self._add(self.peers, name, build)

    def _add(self, calls: dict[str, Call], name: str, build: Callable[[], Call]) -> None:
        try:
            with warnings.catch_warnings():  # of a peer that is compiled
                warnings.simplefilter("ignore")
                call = build()
                call.run()
                if call.forward is not None:
                    call.forward()
        except Exception as error:  # whatever a peer raises: it is named, and the rest goes on
            self.skipped[name] = f"{type(error).__name__}: {error}".split("\n")[0][:300]
        else:
            calls[name] = call


def loss_call(
    loss: Callable[..., Tensor], inputs: Sequence[Tensor], *more: Any, same_formula: bool = True
) -> Call:
    """Call ``loss(*inputs, *more)`` and its gradient by ``inputs``, which is kept nowhere."""

    def run() -> Sequence[Tensor]:
        value = loss(*inputs, *more)
        return (value.detach(), *torch.autograd.grad(value, inputs))

    def forward() -> Tensor:
        with torch.no_grad():
            return loss(*inputs, *more)

    return Call(run, forward, run, same_formula)


def exact_result(
    loss: Callable[..., Tensor], inputs: Sequence[Tensor], *more: Any
) -> Callable[[], Sequence[Tensor]]:
    """Return the same in float64, from the same rounded inputs."""

    def run() -> Sequence[Tensor]:
        wide = [tensor.detach().double().requires_grad_() for tensor in inputs]
        value = loss(*wide, *more)
        return (value.detach(), *torch.autograd.grad(value, wide))

    return run


def dtypes_of(device: str) -> tuple[torch.dtype, ...]:
    """Return the element types that a device is timed with."""
    return (torch.float32,) if device == "cpu" else (torch.float32, torch.bfloat16)


def dtype_name(dtype: torch.dtype) -> str:
    """Return ``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")
