"""Write a raw tree: in parallel, going on after a kill, whole or absent."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib

from mflag.errors import InputError
from mflag.runtime.atomic_write import DISK_ERRORS, sync_folder, write_json
from mflag.runtime.progress import progress

CHUNK = 16  # studies between two notes: what a kill can cost, a worker
MARK = "generated.json"

Rows = dict[str, list[list[Any]]]


def _takes_everyone(seed: int, number: int) -> bool:
    return True


@dataclass(frozen=True)
class Format:
    """How a dataset lies on disk.

    Attributes:
        write_study: folder, seed, index: writes the study's files into the folder and returns its
            rows by table, JSON values only. Runs in workers; equal arguments give equal bytes.
        write_tables: folder, all rows by table in the order of the studies: writes the tables.
        one_study_a_patient: the real set does not say who a patient is, so each has one study.
        takes: seed and number of a patient to whether the set has them; one study a patient only.
    """

    write_study: Callable[[Path, int, int], Rows]
    write_tables: Callable[[Path, Rows], None]
    one_study_a_patient: bool = False
    takes: Callable[[int, int], bool] = _takes_everyone


def write_tree(
    out: Path,
    kind: Format,
    studies: list[tuple[int, int]],
    request: dict[str, Any],
    *,
    workers: int | None = None,
    overwrite: bool = False,
) -> bool:
    """Write a tree into ``out``; go on where a killed run of the same request stopped.

    Args:
        out: the folder; it appears when everything is in it.
        kind: the format.
        studies: seed and index of each.
        request: what the bytes depend on; kept as ``generated.json``.
        workers: processes; None takes one a CPU.
        overwrite: replace another generated tree, or what is left of an unfinished one.

    Returns:
        Whether anything was written; False when the same tree is there already.

    Raises:
        InputError: ``out`` holds something else, or cannot be written.
    """
    part = out.parent / f".{out.name}.part"
    if _is_there(out, request, overwrite):
        return False
    try:
        done = _open_part(part, request, overwrite)
        _write_studies(part, kind, studies, done, workers)
        rows: Rows = {}
        for chunk in sorted(done):
            for name, lines in done[chunk].items():
                rows.setdefault(name, []).extend(lines)
        kind.write_tables(part / "tree", rows)
        write_json(part / "tree" / MARK, request)
        if out.exists():
            shutil.rmtree(out)
        os.rename(part / "tree", out)
        sync_folder(out.parent)
        shutil.rmtree(part)
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise InputError(
                f"cannot write {out}: {error.strerror}; free space or choose another out, "
                "and start again to go on"
            ) from error
        raise
    return True


def _is_there(out: Path, request: dict[str, Any], overwrite: bool) -> bool:
    """Whether ``out`` holds this tree; refuse to touch what is no generated tree."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    found = _read(out / MARK)
    if found is None:  # it may be the real dataset
        raise InputError(f"{out} is there and holds no generated tree; choose another out")
    if found == request and not overwrite:
        return True
    if not overwrite:
        raise InputError(
            f"{out} holds generated studies of other options ({found}); choose another out, or "
            "set overwrite=true"
        )
    return False


def _open_part(part: Path, request: dict[str, Any], overwrite: bool) -> dict[int, Rows]:
    """Make the temporary folder, or read which chunks an earlier run finished."""
    found = _read(part / "request.json")
    if found not in (None, request) and not overwrite:
        raise InputError(
            f"{part} holds an unfinished run with other options; choose another out, or set "
            "overwrite=true"
        )
    if found == request:
        return dict(_finished_chunks(part / "done.jsonl"))
    shutil.rmtree(part, ignore_errors=True)
    (part / "tree").mkdir(parents=True)
    write_json(part / "request.json", request)
    return {}


def _finished_chunks(notes: Path) -> Iterator[tuple[int, Rows]]:
    for line in notes.read_text().splitlines() if notes.is_file() else ():
        try:
            note = json.loads(line)
        except ValueError:  # cut short by a kill
            continue
        yield note["chunk"], note["rows"]


def _write_studies(
    part: Path,
    kind: Format,
    studies: list[tuple[int, int]],
    done: dict[int, Rows],
    workers: int | None,
) -> None:
    """Write all chunks that are not in ``done``, and put them there."""
    chunks = {n // CHUNK: studies[n : n + CHUNK] for n in range(0, len(studies), CHUNK)}
    todo = [chunk for chunk in chunks if chunk not in done]
    count = min(workers or os.cpu_count() or 1, max(len(todo), 1))
    finished = sum(len(chunks[chunk]) for chunk in done)
    tasks = (
        joblib.delayed(_write_chunk)(kind, part / "tree", chunk, chunks[chunk]) for chunk in todo
    )
    with progress("write", "studies", len(studies), finished) as advance:
        run = joblib.Parallel(count, return_as="generator_unordered")
        for chunk, rows in run(tasks):
            line = json.dumps({"chunk": chunk, "rows": rows}, separators=(",", ":"))
            with open(part / "done.jsonl", "a") as file:
                file.write(f"\n{line}\n")  # the first line break ends what a kill cut short
                file.flush()
                os.fsync(file.fileno())
            done[chunk] = rows
            advance(len(chunks[chunk]))


def _write_chunk(
    kind: Format, folder: Path, chunk: int, studies: list[tuple[int, int]]
) -> tuple[int, Rows]:
    rows: Rows = {}
    for seed, index in studies:
        for name, lines in kind.write_study(folder, seed, index).items():
            rows.setdefault(name, []).extend(lines)
    return chunk, rows


def _read(file: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
