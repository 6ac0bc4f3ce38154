"""How far long work is: a bar in a terminal, a line now and then elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

LINE_EVERY_S = 15.0


class _Speed(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} {self.unit}/s" if task.speed else "")


@contextlib.contextmanager
def progress(name: str, unit: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many units were finished since its last call.

    Args:
        name: of the work.
        unit: what is counted, in plural.
        total: units in all.
        done: units that an earlier run finished.
    """
    if done:
        print(f"{name}: going on after {done:,} of {total:,} {unit}", file=sys.stderr)
    show = _bar if sys.stderr.isatty() else _lines
    with show(name, unit, total, done) as advance:
        yield advance


@contextlib.contextmanager
def _bar(name: str, unit: str, total: int, done: int) -> Iterator[Callable[[int], None]]:
    columns = (
        TextColumn(name), BarColumn(), MofNCompleteColumn(), _Speed(unit),
        TextColumn("ETA"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=total, completed=done)
        yield lambda count: bar.update(task, advance=count)


@contextlib.contextmanager
def _lines(name: str, unit: str, total: int, done: int) -> Iterator[Callable[[int], None]]:
    start = last = time.monotonic()
    finished = 0

    def advance(count: int) -> None:
        nonlocal finished, last
        finished += count
        now = time.monotonic()
        if now - last < LINE_EVERY_S:
            return
        last = now
        rate = finished / (now - start)
        left_s = (total - done - finished) / rate
        print(
            f"{name}: {done + finished:,} of {total:,} {unit}, {rate:,.0f} {unit}/s, "
            f"{left_s:,.0f} s left",
            file=sys.stderr,
        )

    yield advance
