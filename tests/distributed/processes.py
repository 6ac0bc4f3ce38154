"""Ranks as torchrun would start them, and what they said."""

import multiprocessing
import os
import pickle
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

_CONTEXT = multiprocessing.get_context("forkserver")  # imports torch and mflag once, not per rank
_CONTEXT.set_forkserver_preload(["mflag.train", "torch.distributed.run"])
LIMIT_S = 180


class Ended(NamedTuple):
    """How a rank ended."""

    code: int
    stderr: str
    result: Any


class Processes:
    """Ranks that run ``work(rank, *arguments)``."""

    def __init__(self, work: Callable[..., Any], count: int, folder: Path, *arguments: Any):
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.folder = folder
        self.all = [
            _CONTEXT.Process(target=_start, args=(work, rank, count, port, folder, arguments))
            for rank in range(count)
        ]
        for process in self.all:
            process.start()

    def wait(self) -> list[Ended]:
        """Every rank's end; a rank that never ends fails the test."""
        for process in self.all:
            process.join(LIMIT_S)
        late = [rank for rank, process in enumerate(self.all) if process.exitcode is None]
        for process in self.all:
            process.kill()
        assert not late, f"ranks {late} did not end: {[self._said(rank) for rank in late]}"
        return [
            Ended(process.exitcode or 0, self._said(rank), self._returned(rank))
            for rank, process in enumerate(self.all)
        ]

    def _said(self, rank: int) -> str:
        return (self.folder / f"{rank}.err").read_text()

    def _returned(self, rank: int) -> Any:
        path = self.folder / f"{rank}.pickle"
        return pickle.loads(path.read_bytes()) if path.exists() else None


def results(work: Callable[..., Any], count: int, folder: Path, *arguments: Any) -> list[Any]:
    """What ``work`` returned on every rank, when all ended well."""
    ended = Processes(work, count, folder, *arguments).wait()
    assert all(end.code == 0 for end in ended), ended
    return [end.result for end in ended]


def _start(work, rank, count, port, folder, arguments):
    torch.set_num_threads(1)
    file = os.open(folder / f"{rank}.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 2)
    sys.stderr = open(2, "w", buffering=1, closefd=False)
    setattr(sys, "__stderr__", sys.stderr)  # noqa: B010  where a run says its last word
    sys.stdout = open(os.devnull, "w")
    if count > 1:
        os.environ |= {
            "RANK": str(rank), "WORLD_SIZE": str(count),
            "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
    try:
        result = work(rank, *arguments)
        (folder / f"{rank}.pickle").write_bytes(pickle.dumps(result))
    except SystemExit as left:
        os._exit(int(left.code or 0))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # at once: multiprocessing would wait for joblib's idle workers
