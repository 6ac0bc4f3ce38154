"""Images of a prepared folder, read by system calls: a process stays as small as it was.

A memory map counts every page it has touched, up to the whole file, and a file that is cut short
under it kills the process by a signal.
"""

import os
import weakref
from pathlib import Path

import numpy as np

from mflag.errors import InputError


class ImageFile:
    """Reads rows of ``images.u8``; threads and forked processes may share it, others open anew."""

    def __init__(self, path: Path | str, image_size: int) -> None:
        """Open the file.

        Args:
            path: the file.
            image_size: height and width of its images, pixels.

        Raises:
            InputError: it cannot be read.
        """
        self.path, self.image_size = Path(path), image_size
        self._bytes = image_size * image_size  # an image
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}; prepare again") from error
        weakref.finalize(self, os.close, self._descriptor)

    def __reduce__(self) -> tuple[type["ImageFile"], tuple[Path, int]]:
        """Open again where it is unpickled."""
        return ImageFile, (self.path, self.image_size)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return the images of ``rows``, (B,) int64, as (B, S, S) uint8.

        Raises:
            InputError: the file was cut short, or the disk fails.
        """
        pixels = np.empty((len(rows), self.image_size, self.image_size), np.uint8)
        self.read_into(rows, pixels)
        return pixels

    def read_into(self, rows: np.ndarray, pixels: np.ndarray) -> None:
        """Read the images of ``rows``, (B,) int64, into ``pixels``, (B, S, S) uint8.

        Raises:
            InputError: the file was cut short, or the disk fails.
        """
        for place in np.argsort(rows).tolist():  # the disk is read forwards
            self._read_one(pixels[place], int(rows[place]))

    def announce(self, rows: np.ndarray) -> None:
        """Let the system fetch the images of ``rows`` while something else is done.

        Only advice: of what memory holds already it costs a microsecond an image. On a disk it
        keeps many requests under way, where reading alone has one.
        """
        if not hasattr(os, "posix_fadvise"):  # macOS
            return
        for row in np.sort(rows).tolist():
            begin = row * self._bytes
            os.posix_fadvise(self._descriptor, begin, self._bytes, os.POSIX_FADV_WILLNEED)

    def _read_one(self, image: np.ndarray, row: int) -> None:
        content, begin, got = image.reshape(-1).data, row * self._bytes, 0
        while got < self._bytes:
            try:
                count = os.preadv(self._descriptor, [content[got:]], begin + got)
            except OSError as error:
                raise InputError(f"cannot read {self.path}: {error.strerror}") from error
            if count == 0:
                raise InputError(f"{self.path} was cut short: it has no image {row}; prepare again")
            got += count
