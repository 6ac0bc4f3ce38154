"""Compare variants of a recipe: ``python -m mflag.ablate table=4 data.path=PREPARED out=DIR``."""

import dataclasses
import sys
from pathlib import Path

from mflag import cli
from mflag.ablation.collect import Collected, compare, default_reference, read_runs
from mflag.ablation.command_line import quote_lists
from mflag.ablation.plan import folder_of, make_plan
from mflag.ablation.report import markdown
from mflag.ablation.run import Failure, Sweep, lock_folder
from mflag.ablation.write_ablation import write_ablation
from mflag.config.ablate import AblateConfig
from mflag.errors import RankFailedError
from mflag.runtime.signals import StopRequest


def main(config: AblateConfig) -> None:
    """Train and evaluate what is missing, compare everything, say what failed."""
    out = folder_of(config)
    if config.collect_only:
        _collect(read_runs(out), out, config.reference, [])
        return
    with lock_folder(out) as lock:
        plan = make_plan(config)
        with StopRequest() as request:
            sweep = Sweep(plan, request, lock)
            is_whole = sweep.run()
    if not is_whole:
        assert request.received is not None
        print(
            f"{request.received.name}: go on with the same command; collect_only=true out={out} "
            "compares what is finished",
            file=sys.stderr,
        )
        if request.received.name == "SIGINT":
            raise KeyboardInterrupt
        return
    if any(e.is_finished for of_one in plan.evaluations.values() for e in of_one):
        runs = read_runs(out, plan.names, config.seeds)
        _collect(runs, out, plan.reference, sweep.failures)
    if sweep.failures:
        first = sweep.failures[0]
        raise RankFailedError(
            f"{len(sweep.failures)} of the runs failed: {first.variant} seed {first.seed}, "
            f"{first.piece}: {first.reason}; see {out / first.log}; the others are kept and "
            "compared, and the same command tries these again"
        )


def _collect(
    runs: list[Collected], out: Path, reference: str | None, failures: list[Failure]
) -> None:
    found = reference or default_reference([run.variant for run in runs])
    results = compare(runs, found, [dataclasses.asdict(failure) for failure in failures])
    report = write_ablation(results, out)
    print(markdown(results))
    print("report:", report)


if __name__ == "__main__":
    sys.argv[1:] = quote_lists(sys.argv[1:])
    cli.run(main, "ablate", AblateConfig)
