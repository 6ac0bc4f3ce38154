"""Weight norms carried from one LARS step to the next, and when they are void."""

import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mflag.ops.lars_carried import carried_size


class _Facts(NamedTuple):
    """What the host sees of a weight; a write through ``.data`` leaves all of it as it was."""

    version: int
    address: int
    nbytes: int
    dtype: torch.dtype
    device: torch.device


def _facts(p: Tensor) -> _Facts:
    storage = p.untyped_storage()
    return _Facts(p._version, p.data_ptr(), storage.nbytes(), p.dtype, p.device)


class WeightNorms:
    """The sums of squares that each step leaves, as long as nobody else wrote the weights.

    What the host can see (in-place writes, ``load_state_dict``, another storage) voids a sum before
    the step. What it cannot (``.data``, collectives, fused optimizers of torch) the kernels find:
    they compare before they write, take the step with the right norm, and raise a flag, which is
    read without waiting: then a warning comes, once, and nothing is carried any more.
    """

    def __init__(self) -> None:
        """Carry nothing yet."""
        self.is_on = True
        self._seen: dict[Tensor, _Facts] = {}
        self._sums: dict[Tensor, Tensor] = {}
        self._flags: dict[torch.device, Tensor] = {}
        self._copies: dict[torch.device, tuple[Tensor, Any]] = {}

    def forget(self) -> None:
        """Void all sums: the next step works them out."""
        self._seen.clear()
        self._sums.clear()

    def look(self) -> None:
        """Read the flags of earlier steps; a set one ends the carrying, with a warning."""
        if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            self.is_on = False  # replays write weights unseen
        elif any(
            bool(flag) for flag, event in self._copies.values() if event is None or event.query()
        ):
            self.is_on = False
            warnings.warn(
                "a weight was written between two steps in a way that only its values show "
                "(.data, a collective, a fused optimizer); every step was taken with the right "
                "norm, and from now on norms are not carried",
                stacklevel=4,
            )
        if not self.is_on:
            self.forget()
            self._copies.clear()

    def sums_for(self, p: Tensor) -> Tensor:
        """Return what the last step left for ``p``, NaN if that is void; written by the step."""
        is_valid = self._seen.pop(p, None) == _facts(p)
        size = carried_size(p.numel())
        sums = self._sums.get(p)
        if sums is None or sums.device != p.device or sums.numel() != size:
            sums = torch.full((size,), torch.nan, dtype=torch.float64, device=p.device)
            self._sums[p] = sums
        elif not is_valid:
            sums.fill_(torch.nan)
        return sums

    def flag_of(self, device: torch.device) -> Tensor:
        """Return the () float32 flag that the kernels on ``device`` raise."""
        if device not in self._flags:
            self._flags[device] = torch.zeros((), dtype=torch.float32, device=device)
        return self._flags[device]

    def note(self, params: Iterable[Tensor]) -> None:
        """Remember how the host sees weights right after a step of ours."""
        for p in params:
            self._seen[p] = _facts(p)
        for device, flag in self._flags.items():
            if device.type != "cuda":
                self._copies[device] = (flag, None)
                continue
            copy = flag.to("cpu", non_blocking=True)  # pinned by torch; sticky, so never too late
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(device))
            self._copies[device] = (copy, event)
