"""Images that are being written: what is done survives a kill."""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mflag.data.images import square_image
from mflag.data.rejected import LeftOut, Rejected
from mflag.errors import InputError
from mflag.runtime.atomic_write import write_json

FOLDER = ".partial"
CHUNK = 16  # studies between two notes: what a kill can cost, a worker

# {"record": ...} or {"rejected": reason, "step": of the funnel, "by_rule": LeftOut}
Result = dict[str, Any]


class PartialImages:
    """The folder ``out/.partial``: images at their places, and a line a finished chunk.

    Args:
        out: the folder that ``prepare`` fills.
        files: the name of each study, in order; another list is another run.
        request: what is asked for, ``image_size`` among it; a folder with another request is
            refused or thrown away.
    """

    def __init__(self, out: Path, files: Sequence[str], request: dict[str, Any]) -> None:
        """Remember the request; nothing is written before ``open``."""
        self.count = len(files)
        self.image_size = int(request["image_size"])
        self.folder = out / FOLDER
        # Absolute: workers of an earlier call may stand in another folder.
        self.images = (self.folder / "images.u8").absolute()
        # Places count studies: with one more or less, all after it would get another's image.
        names = "\n".join(files).encode("utf-8", "surrogateescape")
        listed = {"count": self.count, "files_sha256": hashlib.sha256(names).hexdigest()}
        self._request = {**request, **listed, "chunk": CHUNK}
        self._notes = self.folder / "done.jsonl"
        self._made: list[Path] = []

    def holds_another_run(self) -> bool:
        """Whether an unfinished run with another request is there."""
        return self.folder.exists() and not self._is_ours()

    def open(self) -> None:
        """Go on where a killed run of the same request stopped, else start.

        Raises:
            InputError: the folder cannot be made, or the disk is full.
        """
        if self._is_ours() and self.images.is_file():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self._made = [p for p in self.folder.parents if not p.exists()]
        try:
            self.folder.mkdir(parents=True)
            with open(self.images, "wb") as file:
                file.truncate(self.count * self.image_size**2)
        except OSError as error:
            self.discard()
            raise InputError(
                f"cannot write {self.folder.parent}: {error.strerror}; choose another out"
            ) from error
        write_json(self.folder / "request.json", self._request)  # last: now the rest is whole

    def read_notes(self) -> dict[int, list[Result]]:
        """Results by chunk; a line that a kill cut short counts as not done."""
        done = {}
        for line in self._notes.read_text().splitlines() if self._notes.is_file() else ():
            try:
                note = json.loads(line)
            except ValueError:
                continue
            done[note["chunk"]] = note["results"]
        return done

    def note(self, chunk: int, results: list[Result]) -> None:
        """Note a chunk whose images are on disk."""
        line = json.dumps({"chunk": chunk, "results": results}, separators=(",", ":"))
        with open(self._notes, "a") as file:
            file.write(f"\n{line}\n")  # the first line break ends what a kill cut short
            file.flush()
            os.fsync(file.fileno())

    def discard(self) -> None:
        """Remove the folder, and every folder that was made for it and is empty."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for made in {self.folder.parent: None, **dict.fromkeys(self._made)}:
            try:
                made.rmdir()
            except OSError:
                return

    def _is_ours(self) -> bool:
        try:
            return json.loads((self.folder / "request.json").read_text()) == self._request
        except (OSError, ValueError):
            return False


@dataclass(frozen=True)
class LoadedChunk:
    """The studies of a chunk.

    Attributes:
        chunk: its number.
        results: a result a study.
        images: (k, S, S) uint8 of the k studies that were not rejected; k = 0 when the worker
            wrote them itself.
    """

    chunk: int
    results: list[Result]
    images: np.ndarray


Load = Callable[[Any], tuple[np.ndarray, dict[str, Any]]]


def load_chunk(load: Load, size: int, task: tuple[int, Sequence[Any]]) -> LoadedChunk:
    """Load the studies of a chunk; runs in a worker, on any machine.

    Args:
        load: from an item to its image, of any size, and its record; raises ``Rejected``.
        size: height and width to store, pixels.
        task: number of the chunk, and its items.
    """
    chunk, items = task
    results: list[Result] = []
    images = []
    for item in items:
        try:
            grey, record = load(item)
            images.append(square_image(grey, size))
        except Rejected as rejected:
            by_rule = isinstance(rejected, LeftOut)
            reason = {"rejected": str(rejected), "step": rejected.step, "by_rule": by_rule}
            results.append(reason)
            continue
        results.append({"record": record})
    none = np.empty((0, size, size), np.uint8)
    return LoadedChunk(chunk, results, np.stack(images) if images else none)


def write_chunk(loaded: LoadedChunk, path: Path) -> None:
    """Write the images of a chunk at their places in the file of all images."""
    images, image_bytes = iter(loaded.images), math.prod(loaded.images.shape[1:])
    with open(path, "r+b") as file:
        for number, result in enumerate(loaded.results, loaded.chunk * CHUNK):
            if "record" in result:
                os.pwrite(file.fileno(), next(images).tobytes(), number * image_bytes)
        os.fsync(file.fileno())


def load_and_write_chunk(
    load: Load, size: int, path: Path, task: tuple[int, Sequence[Any]]
) -> LoadedChunk:
    """Load the studies of a chunk and write their images; runs in a worker of this machine."""
    loaded = load_chunk(load, size, task)
    write_chunk(loaded, path)
    return replace(loaded, images=loaded.images[:0].copy())
