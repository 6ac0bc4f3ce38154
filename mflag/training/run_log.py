"""``metrics.jsonl`` and TensorBoard."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from torch.utils.tensorboard.writer import SummaryWriter

from mflag.errors import InputError
from mflag.runtime.atomic_write import atomic_write


class RunLog:
    """Appends a line a logging point; on resume the lines past the checkpoint are dropped."""

    def __init__(self, folder: Path, resumed_at: int, tensorboard: bool) -> None:
        """Open the files.

        Args:
            folder: the run's.
            resumed_at: steps done; 0 starts new files.
            tensorboard: also write ``tensorboard/``.
        """
        path = folder / "metrics.jsonl"
        _keep_until(path, resumed_at)
        self._file: IO[str] = path.open("a")
        self._board: SummaryWriter | None = None
        if tensorboard:
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=resumed_at + 1)

    def write(self, step: int, figures: Mapping[str, float | int | None]) -> None:
        """Write one logging point to disk.

        Args:
            step: from 1.
            figures: by name; None where there is none.
        """
        try:
            self._file.write(json.dumps({"step": step, **figures}, allow_nan=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise InputError(
                f"cannot write {self._file.name}: {error.strerror}; free space and go on with "
                "resume=auto"
            ) from error
        if self._board is not None:
            for name, value in figures.items():
                if value is not None:
                    self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def _keep_until(path: Path, step: int) -> None:
    kept = []
    if path.is_file():
        for line in path.read_text().splitlines(keepends=True):
            if not line.endswith("\n") or json.loads(line)["step"] > step:
                break
            kept.append(line)
    with atomic_write(path) as file:
        file.write("".join(kept).encode())
