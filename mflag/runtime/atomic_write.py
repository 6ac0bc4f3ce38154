"""Files that are whole or absent: temporary file, fsync, rename."""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mflag.errors import InputError


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[IO[bytes]]:
    """Yield a binary file that takes the name ``path`` only when the block ends well.

    Args:
        path: the final name; its folder is made when missing.

    Raises:
        InputError: the folder cannot be written, or the disk is full; nothing is left behind.
    """
    path = Path(path)
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=".part", dir=path.parent
        )
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = None
        sync_folder(path.parent)
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise InputError(
                f"cannot write {path}: {error.strerror}; free space or choose another folder"
            ) from error
        raise
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


DISK_ERRORS = {
    errno.EACCES, errno.EPERM, errno.EROFS,              # not allowed
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO,  # full or broken
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
}  # fmt: skip


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path | str, content: Any) -> None:
    """Write ``content`` as indented JSON, atomically."""
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def write_text(path: Path | str, content: str) -> None:
    """Write ``content`` as UTF-8, atomically."""
    with atomic_write(path) as file:
        file.write(content.encode())


def check_writable(folder: Path) -> None:
    """Find out, before long work, whether a folder can be made and written; leaves no trace.

    Raises:
        InputError: it cannot.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write into {folder}: {error.strerror}; choose another folder"
        ) from error
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()


def file_sha256(path: Path | str) -> str:
    """The sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of writers that were killed."""
    for leftover in folder.glob(".*.part"):
        leftover.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
