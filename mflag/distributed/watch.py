"""A thread in every process that knows whether the others live, and ends this one when not."""

import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import NoReturn

import torch.distributed as dist

from mflag.distributed.ranks import Ranks

EXIT_RANK_FAILED = 4
_FAILURE = "failure"
# Beats that must be missed to call a rank lost when a collective has failed already.
_MISSED = 5


@dataclass(frozen=True)
class Failure:
    """Why all ranks end.

    Attributes:
        rank: who failed, or noticed.
        code: exit code of every rank.
        message: in words.
    """

    rank: int
    code: int
    message: str


class Watch:
    """Beats, reads the others' beats, and ends the process when a rank failed.

    Ages are counted in turns of this thread, not by the clock: a machine that sleeps or a job that
    is paused as a whole loses nobody.
    """

    def __init__(self, store: dist.Store, ranks: Ranks, timeout_s: float) -> None:
        """Start the thread; ``store`` is its own client."""
        self._store, self._ranks = store, ranks
        self._timeout_s = timeout_s
        self._interval_s = min(1.0, timeout_s / 20)
        self._progress: int | None = None
        self._is_suspicious = False
        self._ages = _Ages(ranks.world_size)
        self._over = threading.Event()
        self._failed = threading.Event()
        self.failure: Failure | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="mflag-watch", daemon=True)
        self._thread.start()

    def reached(self, step: int | None, *, has_images: bool = False) -> None:
        """Say that this rank starts a step, or has its images; None: what follows may take long."""
        self._progress = None if step is None else 2 * step + has_images

    def close(self) -> None:
        """Stop watching."""
        self._over.set()
        self._thread.join()

    def report(self, code: int, message: str, rank: int | None = None) -> bool:
        """Make a failure known to all; returns whether it is the first and this rank speaks."""
        failure = Failure(self._ranks.rank if rank is None else rank, code, message)
        text = json.dumps(asdict(failure))
        try:
            with self._lock:
                found = self._store.compare_set(_FAILURE, "", text).decode()
        except RuntimeError:  # rank 0 hosted the store and is gone; rank 1 speaks
            found = text if self._ranks.rank <= 1 else ""
        self._take(Failure(**json.loads(found)) if found else failure)
        return found == text

    def wait_for_failure(self, timeout_s: float) -> None:
        """Give the others a moment to report."""
        self._failed.wait(timeout_s)

    def find_out(self, symptom: str) -> tuple[Failure, bool]:
        """After a collective failed: whose fault it was, and whether this rank says so."""
        self._is_suspicious = True
        if not self._failed.wait(3 * _MISSED * self._interval_s):
            message = f"rank {self._ranks.rank} failed: {symptom}"
            is_first = self.report(EXIT_RANK_FAILED, message)
            assert self.failure is not None
            return self.failure, is_first
        assert self.failure is not None
        return self.failure, False

    def _take(self, failure: Failure) -> None:
        if self.failure is None:
            self.failure = failure
        self._failed.set()

    def _run(self) -> None:
        try:
            while not self._over.wait(self._interval_s):
                self._turn()
                if self.failure is not None:
                    break
        except RuntimeError as error:
            if self._over.is_set():
                return
            message = f"rank 0 is gone, and the store of the ranks with it ({_first_line(error)})"
            if self.report(EXIT_RANK_FAILED, message, rank=0):
                say(self.failure)
        # The main thread, in a collective that failed too, may end the process in its own way.
        if not self._over.wait(_MISSED * self._interval_s):
            assert self.failure is not None
            self.leave(self.failure.code)

    def leave(self, code: int) -> NoReturn:
        """End the process at once: what waits for those that are gone would never end."""
        for stream in (sys.stdout, sys.stderr, sys.__stderr__):
            if stream is not None:
                stream.flush()
        if self._ranks.is_first and not os.environ.get("TORCHELASTIC_USE_AGENT_STORE"):
            time.sleep(3 * self._interval_s)  # the store ends with rank 0; let the others read it
        os._exit(code)

    def _turn(self) -> None:
        rank, world_size = self._ranks.rank, self._ranks.world_size
        mine = "" if self._progress is None else str(self._progress)
        with self._lock:
            self._store.set(f"beat/{rank}", f"{self._ages.turn}:{mine}")
            if self._store.check([_FAILURE]):
                self._take(Failure(**json.loads(self._store.get(_FAILURE).decode())))
                return
            watched = range(world_size) if rank == 0 or self._is_suspicious else [0]
            beats = {
                other: self._store.get(f"beat/{other}").decode()
                for other in watched
                if self._store.check([f"beat/{other}"])
            }
        self._ages.note(beats)
        found = self._judge()
        if found is not None and self.report(EXIT_RANK_FAILED, found[1], rank=found[0]):
            say(self.failure)

    def _judge(self) -> tuple[int, str] | None:
        """The rank that is lost or stuck, and what to say of it."""
        limit = self._timeout_s / self._interval_s
        silent = self._ages.silent(_MISSED if self._is_suspicious else limit)
        if silent is not None:
            if self._is_suspicious:
                how = "gone: killed, or its machine is off or out of memory"
                return silent, f"rank {silent} is {how}"
            how = f"has not answered for {self._timeout_s:g} s: stopped, or gone"
            return silent, f"rank {silent} {how}"
        if self._ranks.rank == 0 and self._ages.stuck_turns > limit:
            return self._stuck()
        return None

    def _stuck(self) -> tuple[int, str]:
        progress, slow = self._ages.slowest()
        step, has_images = divmod(progress, 2)
        what = "finished" if has_images else "had no images for"
        if len(slow) == self._ranks.world_size:
            who, waiting = "no rank has", ""
            what = "finished" if has_images else "had images for"
        else:
            who = f"rank {slow[0]} has" + (" not" if has_images else "")
            waiting = ", while others wait"
        return slow[0], (
            f"{who} {what} step {step + 1} for {self._timeout_s:g} s{waiting}; if that may take "
            "so long, set compute.timeout_s higher"
        )


class _Ages:
    """For how many turns a rank's beat, and the slowest step, have stayed the same."""

    def __init__(self, world_size: int) -> None:
        self.turn = 0
        self.stuck_turns = 0
        self._beats: dict[int, str] = {}
        self._age = dict.fromkeys(range(world_size), 0)
        self._slowest: int | None = None

    def note(self, beats: dict[int, str]) -> None:
        self.turn += 1
        for rank, beat in beats.items():
            same = self._beats.get(rank) == beat
            self._age[rank] = self._age[rank] + 1 if same else 0
            self._beats[rank] = beat
        slowest = self.slowest()[0]
        self.stuck_turns = self.stuck_turns + 1 if slowest == self._slowest != -1 else 0
        self._slowest = slowest

    def silent(self, limit: float) -> int | None:
        return next((rank for rank, age in self._age.items() if age > limit), None)

    def slowest(self) -> tuple[int, list[int]]:
        """The smallest step, -1 when a rank is in none, and who is there."""
        steps = {rank: int(beat.split(":")[1] or -1) for rank, beat in self._beats.items()}
        if len(steps) < len(self._age):
            return -1, []
        step = min(steps.values())
        return step, [rank for rank, value in steps.items() if value == step]


def say(failure: Failure | None) -> None:
    """Print the one line."""
    assert failure is not None
    print(f"error: {failure.message}; every rank ends", file=sys.__stderr__, flush=True)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200]
