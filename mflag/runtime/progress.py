"""How far long work is: a bar on a terminal, a line now and then elsewhere."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Protocol

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


class Advance(Protocol):
    """Says that more units are done; figures stay shown until the next ones."""

    def __call__(self, count: int, figures: Mapping[str, str] | None = None) -> None:
        """Take ``count`` more units, and figures by name."""


def _say_nothing(count: int, figures: Mapping[str, str] | None = None) -> None:
    """Take the news."""


class _Speed(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.3g} {self.unit}/s" if task.speed else "")


@contextlib.contextmanager
def progress(
    name: str, unit: str, total: int, done: int = 0, *, shown: bool = True
) -> Iterator[Advance]:
    """Yield a function that is told how many units were finished since its last call.

    Args:
        name: of the work.
        unit: what is counted, in plural.
        total: units in all.
        done: units that an earlier run finished.
        shown: False prints nothing: one of several processes speaks.
    """
    if not shown:
        yield _say_nothing
        return
    if done:
        print(f"{name}: going on after {done:,} of {total:,} {unit}", file=sys.stderr)
    show = _bar if sys.stderr.isatty() else _lines
    with show(name, unit, total, done) as advance:
        yield advance


@contextlib.contextmanager
def _bar(name: str, unit: str, total: int, done: int) -> Iterator[Advance]:
    columns = (
        TextColumn(name), BarColumn(), MofNCompleteColumn(), _Speed(unit),
        TextColumn("ETA"), TimeRemainingColumn(), TextColumn("{task.fields[figures]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=total, completed=done, figures="")

        def advance(count: int, figures: Mapping[str, str] | None = None) -> None:
            bar.update(task, advance=count)
            if figures:
                bar.update(task, figures=_line(figures))

        yield advance


@contextlib.contextmanager
def _lines(name: str, unit: str, total: int, done: int) -> Iterator[Advance]:
    start = last = time.monotonic()
    finished = 0
    shown: Mapping[str, str] = {}

    def advance(count: int, figures: Mapping[str, str] | None = None) -> None:
        nonlocal finished, last, shown
        finished += count
        shown = figures or shown
        now = time.monotonic()
        if now - last < LINE_EVERY_S:
            return
        last = now
        rate = finished / (now - start)
        left_s = (total - done - finished) / rate
        print(
            f"{name}: {done + finished:,} of {total:,} {unit}, {rate:,.3g} {unit}/s, "
            f"{left_s:,.0f} s left  {_line(shown)}".rstrip(),
            file=sys.stderr,
            flush=True,
        )

    yield advance


def _line(figures: Mapping[str, str]) -> str:
    return "  ".join(f"{name} {value}" for name, value in figures.items())
