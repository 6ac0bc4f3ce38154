"""One program at a time writes into a folder."""

import contextlib
import errno
import fcntl
import os
import socket
import sys
from pathlib import Path
from types import TracebackType

from mflag.errors import InputError

NAME = ".lock"
_CANNOT_LOCK = {errno.ENOLCK, errno.ENOTSUP, errno.EINVAL}


class FolderLock:
    """A lock on a folder that ends with the process that holds it, however that ends.

    The file ``.lock`` says who holds it. The kernel drops the lock of a dead process, so what a
    kill leaves behind is taken over without a question.
    """

    def __init__(self, folder: Path | str, program: str) -> None:
        """Name the folder; nothing is locked before ``acquire``.

        Args:
            folder: made when missing, and removed again when it stays empty.
            program: what the next one is told, such as ``mflag.train``.
        """
        self._folder, self._program = Path(folder), program
        self._handle: int | None = None
        self._made: list[Path] = []

    def acquire(self) -> None:
        """Lock the folder.

        Raises:
            InputError: another program holds it, or it cannot be written.
        """
        try:
            self._make_folder()
            while self._handle is None:
                self._handle = self._try()
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{self._program}, {_this_process()}\n".encode(), 0)
        except OSError as error:
            self.release()
            raise InputError(
                f"cannot write into {self._folder}: {error.strerror}; choose another folder"
            ) from error
        except InputError:
            self.release()
            raise

    def release(self) -> None:
        """Give the folder back; nothing happens when it is not held."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._folder / NAME)
            os.close(self._handle)
            self._handle = None
        for made in self._made:
            with contextlib.suppress(OSError):  # not empty
                made.rmdir()
        self._made = []

    def __enter__(self) -> "FolderLock":
        """Return the lock, not yet acquired."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the folder back."""
        self.release()

    def _make_folder(self) -> None:
        if self._folder.exists() and not self._folder.is_dir():
            raise InputError(f"{self._folder} is a file; give a folder")
        self._made = [p for p in (self._folder, *self._folder.parents) if not p.exists()]
        self._folder.mkdir(parents=True, exist_ok=True)

    def _try(self) -> int | None:
        """The locked file, or None when its holder removed it meanwhile."""
        path = self._folder / NAME
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 1000, 0).decode(errors="replace").strip() or "another program"
            os.close(handle)
            raise InputError(
                f"{self._folder} is in use by {holder}; wait for its end, or give another folder"
            ) from None
        except OSError as error:
            if error.errno not in _CANNOT_LOCK:
                os.close(handle)
                raise
            print(
                f"warning: {self._folder} lies on a file system without locks; see that no other "
                "program writes there",
                file=sys.stderr,
            )
        if path.exists() and os.path.samestat(os.fstat(handle), os.stat(path)):
            return handle
        os.close(handle)
        return None


def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"
