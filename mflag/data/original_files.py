"""The image files that a prepared folder was made of, as they are today."""

import os
import stat
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from mflag.data.images import Rejected, read_image
from mflag.data.manifest import FILE, FILE_BYTES, Prepared
from mflag.errors import InputError

_INSTEAD = "or use feed=cache, which needs the prepared folder alone"


class OriginalFiles:
    """Paths and contents by manifest row.

    A file is known by its length, which prepare noted. One that was touched after this object was
    made is also decoded and compared with the stored image.
    """

    def __init__(self, prepared: Prepared, root: str | None = None) -> None:
        """Look where the files should be.

        Args:
            prepared: the studies.
            root: folder of the files; None: where they were when they were prepared.

        Raises:
            InputError: the images did not come from files, or the files are not there.
        """
        self._prepared = prepared
        self._root = _find_root(prepared, root)
        self._names = _one_chunk(prepared.column(FILE))
        self._bytes = prepared.column(FILE_BYTES).to_numpy()
        self._opened_ns = time.time_ns()
        first = self.path(int(prepared.rows("train")[0]))
        if not os.path.isfile(first):
            raise InputError(
                f"{first} is missing; set feed.root to the folder of the original images, "
                f"{_INSTEAD}"
            )

    def path(self, row: int) -> str:
        """Where the file of a manifest row is."""
        return os.path.join(self._root, self._names[row].as_py())

    def read(self, row: int) -> bytes:
        """Read a file.

        Raises:
            InputError: it is gone, or another than when it was prepared.
        """
        path = self.path(row)
        try:
            now = os.stat(path)
            if stat.S_ISREG(now.st_mode) and now.st_size == self._bytes[row]:
                content = Path(path).read_bytes()
                if len(content) == now.st_size:
                    self._check_touched(row, path, now)
                    return content
        except OSError as error:
            raise InputError(
                f"{path} cannot be read: {error.strerror}; restore it and go on with resume=auto, "
                f"{_INSTEAD}"
            ) from error
        raise _changed(path, f"it has {now.st_size} bytes and had {self._bytes[row]}")

    def decode(self, row: int) -> np.ndarray:
        """Decode a file by Pillow, by the rule of prepare, to (S, S) uint8.

        Raises:
            InputError: it cannot be decoded.
        """
        path = self.path(row)
        try:
            return read_image(path, self._prepared.image_size)
        except Rejected as error:
            raise _changed(path, str(error)) from error

    def _check_touched(self, row: int, path: str, now: os.stat_result) -> None:
        if now.st_mtime_ns > self._opened_ns and not np.array_equal(
            self.decode(row), self._prepared.images[row]
        ):
            raise _changed(path, "other pixels than the prepared image")


def _find_root(prepared: Prepared, root: str | None) -> str:
    noted = prepared.info.get("root")
    if noted is None:
        raise InputError(
            f"{prepared.path} does not say which files its images came from (dataset="
            f"{prepared.info.get('dataset')}); use feed=cache, or prepare image files again with "
            "overwrite=true"
        )
    folder = noted if root is None else root
    if not os.path.isdir(folder):
        raise InputError(
            f"the original images were in {folder!r}, which is no folder here; set feed.root, "
            f"{_INSTEAD}"
        )
    return folder


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """The column in one piece, with offsets that hold more than 2 GB of names."""
    return column.cast(pa.large_string()).combine_chunks()


def _changed(path: str, how: str) -> InputError:
    return InputError(
        f"{path} was changed after prepare ({how}); restore it and go on with resume=auto, or "
        f"prepare again with overwrite=true, {_INSTEAD}"
    )
