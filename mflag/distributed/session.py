"""The life of a process among several: meet, agree, train, and end together."""

import json
import math
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from mflag.distributed.differences import first_difference
from mflag.distributed.rank_stream import RankStream
from mflag.distributed.ranks import Ranks
from mflag.distributed.watch import EXIT_RANK_FAILED, Watch, say
from mflag.errors import InputError, NonFiniteError, RankFailedError

T = TypeVar("T")
_CODES: dict[type[BaseException], int] = {
    InputError: 2,
    NonFiniteError: 3,
    KeyboardInterrupt: 130,
}
_POLL_S = 0.05
_SPEAK_S = 10.0
_SAME_S = 2.0
_FROM_PEERS = re.compile(r"gloo|nccl|ProcessGroup|Connection (closed|reset)|recv|Socket", re.I)


class _AgreedError(InputError):
    """Every rank raises the same; rank 0 prints it."""


class Session:
    """Context of all that several processes do together; with one process it does nothing.

    An error that leaves the context ends every process with one message and one exit code: 2 for
    bad input, 3 for non-finite numbers, 4 for everything else.
    """

    def __init__(self, ranks: Ranks, timeout_s: float) -> None:
        """Meet the others.

        Args:
            ranks: who this is.
            timeout_s: how long to wait for a rank that is missing, lost or hung.

        Raises:
            InputError: a timeout that is no time.
            RankFailedError: not all ranks came in time.
        """
        if not 1 <= timeout_s < math.inf:
            raise InputError(f"compute.timeout_s is {timeout_s}; give 1 second or more")
        self.ranks = ranks
        self._timeout = timedelta(seconds=timeout_s)
        self._meetings = 0
        self._stderr = sys.stderr
        self._watch: Watch | None = None
        if ranks.is_alone:
            return
        if not ranks.is_first:
            sys.stderr = RankStream(sys.stderr, ranks.rank)
        try:
            self._store, _, _ = next(
                iter(rendezvous("env://", ranks.rank, ranks.world_size, timeout=self._timeout))
            )
            self._store.set_timeout(self._timeout)
            self._store.add("present", 1)
            self._watch = Watch(self._store.clone(), ranks, timeout_s)
        except RuntimeError as error:
            raise RankFailedError(
                f"the {ranks.world_size} processes did not meet within {timeout_s:g} s (rank "
                f"{ranks.rank}: {str(error).splitlines()[0]}); look whether all were started"
            ) from error

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def connect(self, device: torch.device) -> None:
        """Start the default process group: NCCL for CUDA, gloo for the CPU."""
        if self.ranks.is_alone:
            return
        backend = "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
            backend = "cpu:gloo,cuda:nccl"
        dist.init_process_group(
            backend,
            store=dist.PrefixStore("group", self._store),
            rank=self.ranks.rank,
            world_size=self.ranks.world_size,
            # The watch, which says more, speaks first.
            timeout=self._timeout + timedelta(seconds=60),
        )

    def agree(self, work: Callable[[], T]) -> T:
        """Do ``work`` on every rank; bad input on one of them is raised on all of them.

        Raises:
            InputError: with the message of rank 0, or else of the first rank that has one.
        """
        if self.ranks.is_alone:
            return work()
        result, message = None, ""
        try:
            result = work()
        except InputError as error:
            message = str(error)
        messages = self._exchange(message)
        if messages[0]:
            raise _AgreedError(messages[0])
        for rank, text in enumerate(messages):
            if text:
                raise _AgreedError(f"rank {rank}: {text}")
        return result  # type: ignore[return-value]

    def in_turn(self, work: Callable[[], T]) -> T:
        """Do ``work`` on rank 0, then on the others, which find what rank 0 left on disk.

        Raises:
            InputError: as ``agree``.
        """
        if self.ranks.is_alone:
            return work()
        result = self.agree(work if self.ranks.is_first else lambda: None)
        others = self.agree(lambda: None if self.ranks.is_first else work())
        return result if self.ranks.is_first else others  # type: ignore[return-value]

    def require_equal(self, facts: Mapping[str, Any]) -> None:
        """Refuse to go on when a fact differs between the ranks.

        Args:
            facts: by name; values that JSON can hold.

        Raises:
            InputError: with the first that differ, and their values.
        """
        if self.ranks.is_alone:
            return
        every = [json.loads(text) for text in self._exchange(json.dumps(dict(facts)))]
        for rank, other in enumerate(every):
            if found := first_difference(every[0], other, rank):
                raise _AgreedError(found)

    def reached(self, step: int | None, *, has_images: bool = False) -> None:
        """Tell the watch that a step begins, or has its images; None: what follows takes long."""
        if self._watch is not None:
            self._watch.reached(step, has_images=has_images)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End together: wait for the others, or end them."""
        if self.ranks.is_alone:
            return
        self.reached(None)
        if error is not None and not isinstance(error, SystemExit):
            self._fail(error)
        self._exchange("")
        assert self._watch is not None
        self._watch.close()
        sys.stderr = self._stderr
        if dist.is_initialized():
            dist.destroy_process_group()
        self._leave_the_store()

    def _leave_the_store(self) -> None:
        """Rank 0, with which the store may end, goes last."""
        if not self.ranks.is_first:
            self._store.add("left", 1)
            return
        until = time.monotonic() + _SPEAK_S
        while self._store.add("left", 0) < self.ranks.world_size - 1 and time.monotonic() < until:
            time.sleep(_POLL_S)

    def _fail(self, error: BaseException) -> None:
        """Say once what happened and end the process."""
        assert self._watch is not None
        if isinstance(error, _AgreedError):
            self._end_agreed(error)
        for kind, code in _CODES.items():
            if isinstance(error, kind):
                if not self.ranks.is_first:  # rank 0 may have found the same, and speaks then
                    self._watch.wait_for_failure(_SAME_S)
                if self._watch.report(code, str(error)):
                    who = "" if self.ranks.is_first else f"rank {self.ranks.rank}: "
                    what = str(error) or "interrupted"
                    print(f"error: {who}{what}", file=sys.__stderr__, flush=True)
                self._watch.leave(code)
        symptom = (
            f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
        )
        if isinstance(error, RuntimeError) and _FROM_PEERS.search(str(error)):
            failure, speaks = self._watch.find_out(symptom)
        else:
            traceback.print_exception(error)
            speaks = self._watch.report(
                EXIT_RANK_FAILED, f"rank {self.ranks.rank} failed: {symptom}"
            )
            assert self._watch.failure is not None
            failure = self._watch.failure
        if speaks:
            say(failure)
        self._watch.leave(failure.code)

    def _end_agreed(self, error: InputError) -> None:
        if self.ranks.is_first:
            print("error:", error, file=sys.__stderr__, flush=True)
            self._store.set("said", "1")
        else:  # torchrun ends all at the first that leaves
            until = time.monotonic() + _SPEAK_S
            while not self._store.check(["said"]) and time.monotonic() < until:
                time.sleep(_POLL_S)
        assert self._watch is not None
        self._watch.leave(_CODES[InputError])

    def _exchange(self, text: str) -> list[str]:
        """Every rank's text, by rank; waits for all, however long they work."""
        self._meetings += 1
        size = self.ranks.world_size
        keys = [f"meeting/{self._meetings}/{rank}" for rank in range(size)]
        self._store.set(keys[self.ranks.rank], text)
        while not self._store.check(keys):  # the watch ends this process when one is lost
            time.sleep(_POLL_S)
        return [value.decode() for value in self._store.multi_get(keys)]
