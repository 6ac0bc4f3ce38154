"""Every rank stops after the same step, whoever got the signal."""

import signal

import torch
import torch.distributed as dist
from torch import Tensor


class StopAgreement:
    """Asks all ranks at every step whether one of them was told to stop.

    The answer of a step is read at the next one, when it has long arrived: nobody waits, and the
    CPU tensors of this group of its own never touch the GPU's stream.
    """

    def __init__(self) -> None:
        """Make the group; every rank must."""
        group = dist.new_group(backend="gloo")
        assert isinstance(group, dist.ProcessGroup)  # a number for who is not in it
        self._group = group
        self._asked: tuple[Tensor, dist.Work] | None = None

    def ask(self, received: signal.Signals | None) -> signal.Signals | None:
        """Tell the others what this rank received; return what any had received a step ago."""
        number = torch.tensor([0 if received is None else int(received)])
        work = dist.all_reduce(number, dist.ReduceOp.MAX, self._group, async_op=True)
        assert work is not None
        before, self._asked = self._asked, (number, work)
        return None if before is None else _answer(*before)

    def close(self) -> None:
        """Wait for the last question, which nobody needs answered."""
        if self._asked is not None:
            _answer(*self._asked)
            self._asked = None


def _answer(number: Tensor, work: dist.Work) -> signal.Signals | None:
    work.wait()
    return signal.Signals(int(number)) if int(number) else None
