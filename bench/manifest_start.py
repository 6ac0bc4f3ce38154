"""One process of bench.manifest_scale: start-up and reading, or prepare; prints a line of JSON."""

import time

STARTED = time.perf_counter()

import functools  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from mflag.config.feed import FeedConfig  # noqa: E402
from mflag.config.prepare import DatasetConfig, PrepareConfig  # noqa: E402
from mflag.config.train import TrainConfig  # noqa: E402
from mflag.data import preparing  # noqa: E402
from mflag.data.datasets.source import Record, Source  # noqa: E402
from mflag.data.feeds import BatchReader, open_feed  # noqa: E402
from mflag.data.funnel import Funnel  # noqa: E402
from mflag.data.text_table import save_text_table  # noqa: E402
from mflag.training import run as run_parts  # noqa: E402
from mflag.training import text_side  # noqa: E402
from mflag.training.run import Run, build_run  # noqa: E402

BATCH = 128
WINDOWS = 10
FRESH_STEPS = 60  # less than an epoch of 10,000 rows: no image is read a second time


def main() -> None:
    """Measure what the arguments say."""
    what, folder, number = sys.argv[1:]
    found = start(Path(folder), int(number)) if what == "start" else prepare(folder, int(number))
    print(json.dumps(found))


def start(folder: Path, steps: int) -> dict[str, Any]:
    """Build a run of a folder; read ``steps`` batches by each feed and watch the memory."""
    imported = time.perf_counter() - STARTED
    spent: dict[str, float] = {"imports": imported}
    with tempfile.TemporaryDirectory(prefix="manifest-start-") as out, _timed_parts(spent):
        config = TrainConfig(output_dir=out)
        config.data.path, config.train.batch_size = str(folder), BATCH
        config.model.arch, config.model.init = "resnet18", "random"
        begin = time.perf_counter()
        run = build_run(config, None)
        spent["build the run"] = time.perf_counter() - begin
        begin = time.perf_counter()
        assert run.text is not None
        save_text_table(Path(out) / "text_embeddings.safetensors", run.text)
        spent["text table of the run"] = time.perf_counter() - begin
        begin = time.perf_counter()
        _reader(run).read(0)
        spent["first batch"] = time.perf_counter() - begin
    inside = ("open the folder", "text table")
    spent["rest of the run"] = spent.pop("build the run") - sum(spent[name] for name in inside)
    spent["total"] = sum(spent.values())
    spent["processor time"] = time.process_time()
    memory = {"after_start_mib": _resident_mib(), "peak_of_start_mib": _peak_mib()}
    feeds = {name: _watch(run, name, steps) for name in ("cache", "torch")} if steps else {}
    return {"start_up_s": spent, **memory, "feeds": feeds}


@contextmanager
def _timed_parts(spent: dict[str, float]) -> Iterator[None]:
    """Time the parts of ``build_run`` that depend on the data."""
    names = {"open_prepared": "open the folder", "build_text_table": "text table"}
    owners: dict[str, Any] = {"open_prepared": run_parts, "build_text_table": text_side}
    before = {name: getattr(owners[name], name) for name in names}

    def timed(name: str, *args: Any, **keys: Any) -> Any:
        begin = time.perf_counter()
        result = before[name](*args, **keys)
        spent[names[name]] = time.perf_counter() - begin
        return result

    for name in names:
        setattr(owners[name], name, functools.partial(timed, name))
    try:
        yield
    finally:
        for name in names:
            setattr(owners[name], name, before[name])


def _reader(run: Run) -> BatchReader:
    return BatchReader(run.prepared, run.stream, 224)


def _watch(run: Run, name: str, steps: int) -> dict[str, Any]:
    """Images a second while all are new, and memory of this process and its workers."""
    _forget_pages(run.prepared.path / "images.u8")
    feed = open_feed(FeedConfig(name), _reader(run), range(steps))
    ends, resident = [], []
    try:
        for step, _ in enumerate(feed):
            ends.append(time.perf_counter())
            if step % max(steps // WINDOWS, 1) == 0:
                resident.append(_resident_mib(workers=True))
    finally:
        feed.close()
    fresh = np.diff(ends[:FRESH_STEPS])
    return {
        "images_per_second": float(BATCH / np.median(fresh)),
        "resident_mib_by_part": resident,
        "growth_mib": resident[-1] - resident[0],
    }


def _forget_pages(path: Path) -> None:
    """Let the system drop what it keeps of a file, so that every size reads all anew."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _resident_mib(workers: bool = False) -> float:
    """Anonymous memory and mapped files; with workers, what is theirs alone is added."""
    own = _status("/proc/self/status", "RssAnon") + _status("/proc/self/status", "RssFile")
    children = Path("/proc/self/task").glob("*/children") if workers else ()
    pids = [pid for file in children for pid in file.read_text().split()]
    return (own + sum(_status(f"/proc/{p}/smaps_rollup", "Private_Dirty") for p in pids)) / 1024


def _status(file: str, key: str) -> int:
    for line in Path(file).read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    return 0


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def prepare(folder: str, rows: int) -> dict[str, Any]:
    """Prepare constant images: the time a study that prepare itself takes."""
    preparing.READERS["composed"] = functools.partial(_constant_source, rows)
    try:
        with tempfile.TemporaryDirectory(prefix="prepare-", dir=folder) as out:
            config = PrepareConfig(DatasetConfig(name="composed"), out=f"{out}/made", workers=1)
            begin = time.perf_counter()
            preparing.prepare(config)
            seconds = time.perf_counter() - begin
    finally:
        del preparing.READERS["composed"]
    return {"rows": rows, "us_a_row": seconds / rows * 1e6}


def _constant_source(rows: int, config: PrepareConfig) -> Source:
    funnel = Funnel()
    funnel.add("rows", rows)
    names = [f"image-{number}" for number in range(rows)]
    return Source(
        options={"rows": rows},
        items=range(rows),
        rows=range(rows),
        files=names,
        load=_constant,
        build_tables=lambda numbers, _: {
            "manifest.parquet": pd.DataFrame({"id": names, "patient": names, "text": names}).iloc[
                numbers
            ]
        },
        where="composed rows",
        funnel=funnel,
        prefer="threads",
    )


_IMAGE = np.tile(np.array([0, 255], np.uint8), (256, 128))  # a constant one is rejected


def _constant(number: int) -> tuple[np.ndarray, Record]:
    return _IMAGE, {}


if __name__ == "__main__":
    main()
