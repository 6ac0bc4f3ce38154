"""Checkpoints written while training goes on: a copy in host memory, one thread, one at a time."""

import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mflag.runtime.checkpoint import save_checkpoint


class HostCopy:
    """Copies a state into host memory that is kept for the next copy.

    From a GPU the copies go to pinned memory, all on their way before the one wait at the end.
    """

    def __init__(self) -> None:
        """Hold no memory yet."""
        self._buffers: dict[str, Tensor] = {}

    def take(self, state: Any) -> Any:
        """Return ``state`` with every tensor replaced by a copy that the next ``take`` overwrites.

        Args:
            state: tensors, numbers, strings, lists, tuples and dicts.
        """
        devices: set[torch.device] = set()
        copied = self._copy(state, "", devices)
        for device in devices:
            torch.cuda.current_stream(device).synchronize()
        return copied

    def _copy(self, value: Any, name: str, devices: set[torch.device]) -> Any:
        if isinstance(value, dict):
            return {k: self._copy(v, f"{name}.{k}", devices) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._copy(v, f"{name}.{i}", devices) for i, v in enumerate(value))
        if not isinstance(value, Tensor):
            return value
        value, buffer = value.detach(), self._buffers.get(name)
        is_like = buffer is not None and buffer.shape == value.shape and buffer.dtype == value.dtype
        if buffer is None or not is_like or buffer.stride() != value.stride():
            on_gpu = value.is_cuda
            buffer = torch.empty_like(value, device="cpu", pin_memory=on_gpu)
            self._buffers[name] = buffer
        if value.is_cuda:
            devices.add(value.device)
        return buffer.copy_(value, non_blocking=True)


class CheckpointWriter:
    """Writes checkpoints in the background, whole or not at all, at most one at a time."""

    def __init__(self, folder: Path, keep: int) -> None:
        """Write nothing yet.

        Args:
            folder: of the checkpoints.
            keep: how many stay, at least 1.
        """
        self._folder, self._keep = folder, keep
        self._host = HostCopy()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Copy a state, and begin to write it; waits for the checkpoint before.

        Args:
            step: steps done.
            state: may change once this returns.

        Raises:
            InputError: the checkpoint before could not be written.
        """
        self.wait()
        copied = self._host.take(state)
        self._thread = threading.Thread(
            target=self._write, args=(step, copied), name="mflag-checkpoint"
        )
        self._thread.start()

    def check(self) -> None:
        """Raise the error of a write that has failed; does not wait for one under way.

        Raises:
            InputError: a checkpoint could not be written.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def wait(self) -> None:
        """Wait until nothing is being written.

        Raises:
            InputError: a checkpoint could not be written.
        """
        self._join()
        self.check()

    def close(self) -> None:
        """Let a write under way end; whatever it says comes too late to be heard."""
        self._join()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _write(self, step: int, state: dict[str, Any]) -> None:
        try:
            save_checkpoint(self._folder, step, state, self._keep)
        except BaseException as error:  # handed to the training thread, which raises it
            self._error = error
