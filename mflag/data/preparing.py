"""From a dataset to a prepared folder: ``prepare`` and what it is made of."""

import functools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.datasets import READERS, Source
from mflag.data.datasets.source import Rejection
from mflag.data.launchers import Launcher, WorkersLostError, open_launcher
from mflag.data.manifest import FORMAT, STORED_SIZES, Prepared, open_prepared
from mflag.data.partial_images import (
    CHUNK,
    PartialImages,
    Result,
    load_and_write_chunk,
    load_chunk,
    write_chunk,
)
from mflag.data.prepared_files import existing_files, read_options, write_prepared
from mflag.errors import InputError
from mflag.runtime.atomic_write import DISK_ERRORS
from mflag.runtime.folder_lock import FolderLock
from mflag.runtime.progress import progress

_REASONS_SHOWN = 3


def prepare(config: PrepareConfig) -> Prepared:
    """Prepare a dataset; go on after a kill; return at once when it is done already.

    Args:
        config: all keys of ``python -m mflag.prepare``.

    Raises:
        InputError: what the user gave cannot work; nothing is left on disk.
    """
    _check_numbers(config)
    open_launcher(config.launcher, config.workers, "threads")  # refused before the data is read
    source = _reader(config.dataset.name)(config)
    out = Path(config.out or f"data/{config.dataset.name}")
    request = _request(config, source)
    partial = PartialImages(out, source.files, request)
    is_finished = _is_finished(out, request, partial, config.overwrite)
    for remark in source.remarks:
        print(remark, file=sys.stderr)
    if is_finished:
        return _already(out)
    _check_rejections(source, [], config.max_reject_fraction)
    launcher = open_launcher(config.launcher, config.workers, source.prefer)
    with FolderLock(out, "mflag.prepare") as lock:
        lock.acquire()
        if _is_finished(out, request, partial, config.overwrite):  # by another, just now
            return _already(out)
        return _prepare(config, source, request, partial, launcher)


def _already(out: Path) -> Prepared:
    print(f"{out} is prepared already with these options; overwrite=true repeats it")
    return open_prepared(out)


def _prepare(
    config: PrepareConfig,
    source: Source,
    request: dict[str, Any],
    partial: PartialImages,
    launcher: Launcher,
) -> Prepared:
    """Load what is missing and write the result, in a folder that is locked."""
    out = partial.folder.parent
    partial.open()
    try:
        results = _load_all(source, partial, config, launcher)
        return write_prepared(out, request, source, results, partial)
    except WorkersLostError:  # what is done stays
        raise
    except InputError as error:
        if not isinstance(error.__cause__, OSError):  # a full disk: what is done stays
            partial.discard()
        raise
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise InputError(
                f"cannot write {out}: {error.strerror}; free space and start again to go on"
            ) from error
        raise


def prepare_phantom(
    out: Path | str,
    size: int,
    seed: int,
    workers: int | None = None,
    *,
    replace_other: bool = False,
) -> Prepared:
    """Prepare generated studies, or open them when ``out`` holds them already.

    Args:
        out: the folder.
        size: studies, all splits together.
        seed: of the generator.
        workers: processes; None takes one a CPU.
        replace_other: replace other prepared data in ``out``.

    Raises:
        InputError: ``out`` holds something else.
    """
    dataset = DatasetConfig(name="phantom", size=size, seed=seed)
    config = PrepareConfig(dataset=dataset, out=str(out), workers=workers)
    if replace_other:
        request = _request(config, _reader("phantom")(config))
        config.overwrite = read_options(Path(out)) not in (None, request)
    return prepare(config)


def _request(config: PrepareConfig, source: Source) -> dict[str, Any]:
    """All that the result depends on; with an equal request a run goes on or is finished."""
    return {
        "format": FORMAT,
        "dataset": config.dataset.name,
        "image_size": config.stored_size,
        "options": source.options,
    }


def _reader(name: str) -> Any:
    if name not in READERS:
        raise InputError(f"dataset is {name!r}; choose one of {', '.join(READERS)}")
    return READERS[name]


def _check_numbers(config: PrepareConfig) -> None:
    if not 0 <= config.max_reject_fraction <= 1:
        raise InputError(f"max_reject_fraction is {config.max_reject_fraction}; give 0 to 1")
    if config.stored_size not in STORED_SIZES:
        raise InputError(
            f"stored_size is {config.stored_size}; choose one of "
            f"{', '.join(map(str, STORED_SIZES))}"
        )
    if config.workers is not None and config.workers < 1:
        raise InputError(f"workers is {config.workers}; give 1 or more, or null")


def _is_finished(
    out: Path, request: dict[str, Any], partial: PartialImages, overwrite: bool
) -> bool:
    """Whether ``out`` holds the result already; refuse what must not be replaced."""
    if out.exists() and not out.is_dir():
        raise InputError(f"out is {str(out)!r}, which is no folder; choose another")
    if overwrite:
        return False
    found = read_options(out)
    if found == request:
        return True
    advice = "choose another out, or set overwrite=true"
    if found is not None:
        raise InputError(
            f"{out} was prepared with other options ({_difference(found, request)}); {advice}"
        )
    if partial.holds_another_run():
        raise InputError(f"{out} holds an unfinished run with other options or images; {advice}")
    foreign = existing_files(out)
    if foreign and not partial.folder.exists():
        raise InputError(f"{out} holds {foreign[0]}, but no finished prepare; {advice}")
    return False


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    flat = [{**side, **side.get("options", {})} for side in (found, wanted)]
    keys = [key for key in flat[0] | flat[1] if key != "options"]
    pairs = [(key, flat[0].get(key), flat[1].get(key)) for key in keys]
    return ", ".join(f"{key} {old!r}, now {new!r}" for key, old, new in pairs if old != new)


def _load_all(
    source: Source, partial: PartialImages, config: PrepareConfig, launcher: Launcher
) -> list[Result]:
    """Every study's record or reason, in order; their images are in ``partial.images``."""
    done = partial.read_notes()
    count = len(source.items)
    gone, broken = _count(source.rejected, _rejections(source, done))
    is_hopeless = False

    todo = [chunk for chunk in range(-(-count // CHUNK)) if chunk not in done]

    def tasks() -> Iterator[tuple[int, Sequence[Any]]]:
        for chunk in todo:
            if is_hopeless:  # what is under way still ends: joblib complains of broken-off work
                return
            yield chunk, source.items[chunk * CHUNK : (chunk + 1) * CHUNK]

    work = (
        functools.partial(load_and_write_chunk, source.load, partial.image_size, partial.images)
        if launcher.shares_disk
        else functools.partial(load_chunk, source.load, partial.image_size)
    )
    with progress("prepare", "images", count, sum(map(len, done.values()))) as advance:
        for loaded in launcher.run(work, tasks(), len(todo)):
            if not launcher.shares_disk:
                write_chunk(loaded, partial.images)
            partial.note(loaded.chunk, loaded.results)
            done[loaded.chunk] = loaded.results
            advance(len(loaded.results))
            more = _count(_rejections(source, {loaded.chunk: loaded.results}))
            gone, broken = gone + more[0], broken + more[1]
            is_hopeless = _are_too_many(source, gone, broken, config.max_reject_fraction)
    _check_rejections(source, _rejections(source, done), config.max_reject_fraction)
    return [result for chunk in sorted(done) for result in done[chunk]]


def _rejections(source: Source, done: dict[int, list[Result]]) -> list[Rejection]:
    return [
        Rejection(source.rows[number], source.files[number], result["rejected"], result["by_rule"])
        for chunk, results in done.items()
        for number, result in enumerate(results, chunk * CHUNK)
        if "rejected" in result
    ]


def _count(*rejections: list[Rejection]) -> tuple[int, int]:
    """Number of all, and of those that no rule of the user's left out."""
    return (
        sum(map(len, rejections)),
        sum(not rejection.by_rule for group in rejections for rejection in group),
    )


def _are_too_many(source: Source, gone: int, broken: int, max_fraction: float) -> bool:
    return broken > max_fraction * source.total or gone == source.total


def _check_rejections(source: Source, more: list[Rejection], max_fraction: float) -> None:
    gone, broken = _count(source.rejected, more)
    if not _are_too_many(source, gone, broken, max_fraction):
        return
    rejected = sorted([*source.rejected, *more], key=lambda rejection: rejection.row)
    is_all_by_rule = broken <= max_fraction * source.total and broken < gone
    if not is_all_by_rule:
        rejected = [rejection for rejection in rejected if not rejection.by_rule]
    first = "; ".join(f"{r.file}: {r.reason}" for r in rejected[:_REASONS_SHOWN])
    if is_all_by_rule:
        raise InputError(
            f"all {gone} studies of {source.where} are left out; the first: {first}. "
            "Loosen the dataset's options that do so"
        )
    raise InputError(
        f"{broken} of {source.total} studies of {source.where} are rejected, more than "
        f"max_reject_fraction={max_fraction}; the first: {first}. Mend them or raise the fraction"
    )
