"""Compare encoders: ``python -m mflag.evaluate encoder=FILE data.path=PREPARED out=DIR``."""

import sys

from mflag import cli
from mflag.config.evaluate import EvaluateConfig
from mflag.data.label_policy import POLICIES
from mflag.downstream import TASKS
from mflag.downstream.request import check_request, open_data, with_baselines
from mflag.downstream.write_results import write_results
from mflag.errors import InputError


def main(config: EvaluateConfig) -> None:
    """Evaluate, write ``results.json``, ``report.html`` and ``plots/``, print the scores."""
    if config.task.name not in TASKS:
        raise InputError(f"task is {config.task.name!r}; choose one of {', '.join(TASKS)}")
    request = check_request(config)
    prepared = open_data(config, request.out)
    request = with_baselines(config, request)
    results = TASKS[config.task.name](config, request, prepared)
    if config.report.embed_images and results["data"]["dataset"] != "phantom":
        print(
            "warning: report.html will hold images and report text of real studies; "
            "pass it on only where these may go",
            file=sys.stderr,
        )
    report = write_results(config, request.out, prepared, results)
    options = results["options"]
    print(f"label policy {options['label_policy']}: {POLICIES[options['label_policy']]}")
    for note in results["notes"]:
        print("note:", note)
    for sentence in results["shortcuts"]["sentences"]:
        print("shortcut:", sentence)
    for row in results["summary"]:
        if "/" not in row["metric"]:
            print(
                f"{row['metric']:15} {row['encoder']:15} {row['protocol']:8} "
                f"{100 * row['fraction']:g} % of the labels ({row['n_train']}): "
                f"{row['value']:.3f}, 95 % interval "
                f"{_bound(row['ci_low'])} to {_bound(row['ci_high'])}, draws {row['draws']}"
            )
    print("report:", report)


def _bound(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    cli.run(main, "evaluate", EvaluateConfig)
