"""Compare encoders: ``python -m mflag.evaluate encoder=FILE data.path=PREPARED out=DIR``."""

import sys
from typing import Any

from mflag import cli
from mflag.config.evaluate import EvaluateConfig
from mflag.downstream import TASKS
from mflag.downstream.request import (
    check_protocols,
    check_request,
    open_data,
    refuse_unread_keys,
    with_baselines,
)
from mflag.downstream.write_results import write_results
from mflag.errors import InputError
from mflag.runtime.folder_lock import FolderLock


def main(config: EvaluateConfig) -> None:
    """Evaluate, write ``results.json``, ``report.html`` and ``plots/``, print the scores."""
    if config.task.name not in TASKS:
        raise InputError(f"task is {config.task.name!r}; choose one of {', '.join(TASKS)}")
    task = TASKS[config.task.name]
    refuse_unread_keys(config.task, task.keys)
    protocols = check_protocols(config.task.protocol, task.protocols)
    task.check(config, protocols)
    request = check_request(config, protocols)
    with FolderLock(request.out, "mflag.evaluate") as lock:
        lock.acquire()
        prepared = open_data(config, request.out)
        task.check_data(config, prepared)
        request = with_baselines(config, request)
        generated = prepared.info.get("dataset") == "phantom"
        if config.report.embed_images and not generated:
            print(
                "warning: report.html will hold images and report text of real studies; "
                "pass it on only where these may go",
                file=sys.stderr,
            )
        shows_pictures = generated or config.report.embed_images
        outcome = task.run(config, request, prepared, shows_pictures)
        report = write_results(task, outcome, request.out)
    for remark in task.remarks(outcome.results):
        print(remark)
    for note in outcome.results["notes"]:
        print("note:", note)
    for row in outcome.results["summary"]:
        if "/" not in row["metric"]:
            print(_line(row))
    print("report:", report)


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['metric']:15} {row['encoder']:15} {row['protocol']:8} "
        f"{100 * row['fraction']:g} % of the labels ({row['n_train']}): {row['value']:.3f}, "
        f"95 % interval {_bound(row['ci_low'])} to {_bound(row['ci_high'])}, draws {row['draws']}"
    )


def _bound(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    cli.run(main, "evaluate", EvaluateConfig)
