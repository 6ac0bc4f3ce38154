"""Images that are being written: what is done survives a kill."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mflag.data.manifest import IMAGE_SIZE
from mflag.data.rejected import LeftOut, Rejected
from mflag.errors import InputError
from mflag.runtime.atomic_write import write_json

FOLDER = ".partial"
CHUNK = 16  # studies between two notes: what a kill can cost, a worker
IMAGE_BYTES = IMAGE_SIZE * IMAGE_SIZE

# {"record": ...} or {"rejected": reason, "step": of the funnel, "by_rule": LeftOut}
Result = dict[str, Any]


class PartialImages:
    """The folder ``out/.partial``: images at their places, and a line a finished chunk.

    Args:
        out: the folder that ``prepare`` fills.
        count: studies.
        request: what is asked for; a folder with another request is refused or thrown away.
    """

    def __init__(self, out: Path, count: int, request: dict[str, Any]) -> None:
        """Remember the request; nothing is written before ``open``."""
        self.count = count
        self.folder = out / FOLDER
        self.images = self.folder / "images.u8"
        self._request = {**request, "count": count, "chunk": CHUNK}
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
                file.truncate(self.count * IMAGE_BYTES)
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


def write_chunk(
    load: Callable[[Any], tuple[np.ndarray, dict[str, Any]]],
    items: Sequence[Any],
    chunk: int,
    path: Path,
) -> tuple[int, list[Result]]:
    """Load the studies of a chunk and write their images at their places; runs in a worker.

    Args:
        load: from an item to its image and record; raises ``Rejected``.
        items: the studies of this chunk.
        chunk: its number.
        path: the file of all images.

    Returns:
        The chunk's number and a result a study.
    """
    results: list[Result] = []
    with open(path, "r+b") as file:
        for number, item in enumerate(items, chunk * CHUNK):
            try:
                image, record = load(item)
            except Rejected as rejected:
                by_rule = isinstance(rejected, LeftOut)
                reason = {"rejected": str(rejected), "step": rejected.step, "by_rule": by_rule}
                results.append(reason)
                continue
            os.pwrite(file.fileno(), image.tobytes(), number * IMAGE_BYTES)
            results.append({"record": record})
        os.fsync(file.fileno())
    return chunk, results
