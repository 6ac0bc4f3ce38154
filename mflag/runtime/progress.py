"""What people watch during a long run: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY_S = 10.0


class RunProgress:
    """Progress of a loop of known length, with whatever figures the loop reports."""

    def __init__(self, title: str, total: int, unit: str, done: int = 0) -> None:
        """Start at ``done`` of ``total`` ``unit``s."""
        self._title, self._total, self._unit = title, total, unit
        self._done = self._first = done
        self._begin = self._last_line = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            columns = (
                SpinnerColumn(), TextColumn("{task.description}"), BarColumn(),
                MofNCompleteColumn(), TextColumn(unit),
                TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}"),
            )  # fmt: skip
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task(title, total=total, completed=done, figures="")
            self._bar.start()

    def advance(self, steps: int = 1, figures: Mapping[str, str] | None = None) -> None:
        """Say that ``steps`` more are done; ``figures`` stay shown until the next ones."""
        self._done += steps
        text = "  ".join(f"{name} {value}" for name, value in (figures or {}).items())
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
            if figures:
                self._bar.update(self._task, figures=text)
        elif figures and self._is_time_for_a_line():
            rate = (self._done - self._first) / max(time.monotonic() - self._begin, 1e-9)
            left = (self._total - self._done) / max(rate, 1e-9)
            line = (
                f"{self._title} {self._done}/{self._total} {self._unit}  ETA {left:.0f} s  {text}"
            )
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar down."""
        if self._bar is not None:
            self._bar.stop()

    def _is_time_for_a_line(self) -> bool:
        now = time.monotonic()
        if now - self._last_line < LINE_EVERY_S and self._done < self._total:
            return False
        self._last_line = now
        return True
