"""Images of a prepared folder, read by system calls: a process stays as small as it was.

A memory map counts every page it has touched, up to the whole file, and a file that is cut short
under it kills the process by a signal.
"""

import os
import weakref
from pathlib import Path

import numpy as np

from mflag.data.manifest import IMAGE_SIZE
from mflag.errors import InputError

IMAGE_BYTES = IMAGE_SIZE * IMAGE_SIZE


class ImageFile:
    """Reads rows of ``images.u8``; threads and forked processes may share it, others open anew."""

    def __init__(self, path: Path | str) -> None:
        """Open the file.

        Raises:
            InputError: it cannot be read.
        """
        self.path = Path(path)
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}; prepare again") from error
        weakref.finalize(self, os.close, self._descriptor)

    def __reduce__(self) -> tuple[type["ImageFile"], tuple[Path]]:
        """Open again where it is unpickled."""
        return ImageFile, (self.path,)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return the images of ``rows``, (B,) int64, as (B, 256, 256) uint8.

        Raises:
            InputError: the file was cut short, or the disk fails.
        """
        pixels = np.empty((len(rows), IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        for place in np.argsort(rows):  # the disk is read forwards
            self._read_into(pixels[place], int(rows[place]))
        return pixels

    def _read_into(self, image: np.ndarray, row: int) -> None:
        content, begin, got = image.reshape(-1).data, row * IMAGE_BYTES, 0
        while got < IMAGE_BYTES:
            try:
                count = os.preadv(self._descriptor, [content[got:]], begin + got)
            except OSError as error:
                raise InputError(f"cannot read {self.path}: {error.strerror}") from error
            if count == 0:
                raise InputError(f"{self.path} was cut short: it has no image {row}; prepare again")
            got += count
