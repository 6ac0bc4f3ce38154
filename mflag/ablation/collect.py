"""From the folders of finished runs to the rows that are compared."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mflag.ablation.pieces import UNTRAINED, evaluations_in, read_results
from mflag.ablation.settings import (
    Settings,
    changes,
    command_words,
    evaluation_settings,
    fingerprint,
    read_training_settings,
)
from mflag.ablation.statistics import INTERVAL, Row, differences, summarise
from mflag.data.prepared_files import read_options
from mflag.downstream.results import provenance
from mflag.errors import InputError

FORMAT = 1
GEOMETRY = ("rankme", "effective_rank_centred")
_PLACE = re.compile(r"seed_(\d+)")


@dataclass(frozen=True)
class Collected:
    """One run that a folder holds.

    Attributes:
        variant: name of its folder.
        seed: of its ``config.yaml``.
        settings: of its ``config.yaml``.
        results: content of each ``results.json``; none where nothing was evaluated yet.
    """

    variant: str
    seed: int
    settings: Settings
    results: list[dict[str, Any]]


def read_runs(
    out: Path, names: list[str] | None = None, seeds: int | None = None
) -> list[Collected]:
    """Read every run that lies in ``out`` as ``VARIANT/seed_K``.

    Args:
        out: folder of all runs.
        names: of the variants, in their order; None takes all, by name.
        seeds: 0 to seeds - 1 are read; None takes all.

    Raises:
        InputError: there are none, or one is not what its folder says.
    """
    folders = [
        folder
        for folder in sorted(out.glob("*/seed_*"), key=_by_name_and_seed)
        if (place := _PLACE.fullmatch(folder.name))
        and (names is None or folder.parent.name in names)
        and (seeds is None or int(place.group(1)) < seeds)
    ]
    runs = [run for folder in folders if (run := _read_run(folder)) is not None]
    if names is not None:
        runs.sort(key=lambda run: (names.index(run.variant), run.seed))
    if not any(run.results for run in runs):
        raise InputError(
            f"{out} holds no evaluated run as VARIANT/seed_K/evaluation/results.json; give the "
            "folder of a sweep as out="
        )
    _check_seeds_alike(runs)
    _check_evaluations_alike(runs)
    return runs


def compare(
    runs: list[Collected], reference: str, failures: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the content of ``ablation.json``.

    Args:
        runs: of ``read_runs``.
        reference: variant that the others are compared with; it may be among the failures.
        failures: what did not come to its end.

    Raises:
        InputError: there is no such variant.
    """
    names = list(dict.fromkeys(run.variant for run in runs))
    if reference not in names and not failures:
        raise InputError(f"reference is {reference!r}; choose one of {', '.join(names)}")
    rows = [row for run in runs for results in run.results for row in _rows(run, results)]
    return {
        "format": FORMAT,
        "reference": reference,
        "variants": _describe(runs, names),
        "data": _data(runs),
        "interval": INTERVAL,
        "rows": rows,
        "summary": summarise(rows),
        "differences": differences(rows, reference),
        "missing": [f"{run.variant} seed {run.seed}" for run in runs if not run.results],
        "failures": failures,
    } | provenance("mflag.ablate")


def default_reference(names: list[str]) -> str:
    """Return ``both``, or the alignment alone, or the first of the names."""
    aligned = [name for name in names if name.startswith("align_only")]
    return "both" if "both" in names else (aligned or names)[0]


def _read_run(folder: Path) -> Collected | None:
    settings = read_training_settings(folder)
    if settings is None:
        return None
    match = _PLACE.fullmatch(folder.name)
    assert match is not None
    if settings.get("seed") != int(match.group(1)):
        raise InputError(
            f"{folder} holds a run of seed {settings.get('seed')}; rename it to "
            f"seed_{settings.get('seed')}"
        )
    paths = evaluations_in(folder)
    results = [read_results(path) for path in paths]
    by_task: dict[str, Path] = {}
    for path, content in zip(paths, results, strict=True):
        other = by_task.setdefault(content["rows"][0]["task"], path)
        if other is not path:
            raise InputError(f"{path} and {other} score the same task of one run; move one of them")
    return Collected(folder.parent.name, int(match.group(1)), settings, results)


def _check_seeds_alike(runs: list[Collected]) -> None:
    first: dict[str, Collected] = {}
    for run in runs:
        other = first.setdefault(run.variant, run)
        found = changes(other.settings | {"seed": 0}, run.settings | {"seed": 0})
        if found:
            raise InputError(
                f"{run.variant}/seed_{run.seed} and seed_{other.seed} are no two seeds of one "
                f"recipe: {'; '.join(found[:3])}; move one of them"
            )


def _check_evaluations_alike(runs: list[Collected]) -> None:
    first: dict[str, tuple[Collected, Settings]] = {}
    for run in runs:
        for results in run.results:
            task = results["rows"][0]["task"]
            now = evaluation_settings(command_words(results))
            # The same data may lie elsewhere; their counts have to agree.
            now = {k: v for k, v in now.items() if not k.startswith("data.")}
            now |= {"studies": results["data"].get("studies")}
            other, before = first.setdefault(task, (run, now))
            found = changes(before, now)
            if found:
                raise InputError(
                    f"{task} of {run.variant}/seed_{run.seed} and {other.variant}/seed_{other.seed}"
                    f" cannot be compared: {'; '.join(found[:3])}; evaluate one of them again"
                )


def _rows(run: Collected, results: dict[str, Any]) -> list[Row]:
    """The scores without a slash in their name; classes and attributes stay in the run's own."""
    files = [e["name"] for e in results["encoders"] if e["origin"].startswith("file ")]
    if len(files) != 1:
        raise InputError(
            f"an evaluation of {run.variant}/seed_{run.seed} compares {len(files)} encoder files; "
            "evaluate one at a time"
        )
    place = {"variant": run.variant, "seed": run.seed, "task": results["rows"][0]["task"]}
    rows = [
        place
        | {name: row[name] for name in ("protocol", "fraction", "metric", "value")}
        | {"n": row["draws"], "n_train": row["n_train"], "patients_half_width": _half_width(row)}
        for row in results["summary"]
        if row["encoder"] == files[0] and "/" not in row["metric"]
    ]
    geometry = results.get("geometry", {}).get(files[0], {})
    of_test = {"task": "geometry", "protocol": "frozen", "fraction": None, "n": 1}
    return rows + [
        place | of_test | {"metric": name, "value": geometry[name]}
        | {"n_train": None, "patients_half_width": None}
        for name in GEOMETRY
        if name in geometry
    ]  # fmt: skip


def _half_width(row: Row) -> float | None:
    if row["ci_low"] is None:
        return None
    return float(row["ci_high"] - row["ci_low"]) / 2


def _describe(runs: list[Collected], names: list[str]) -> list[dict[str, Any]]:
    """Each variant by what sets it apart, as its runs' own ``config.yaml`` says."""
    settings = {name: next(r.settings for r in runs if r.variant == name) for name in names}
    keys = dict.fromkeys(key for of_one in settings.values() for key in of_one if key != "seed")
    # Lists are compared by their text; where a run has no such key it is null.
    differing = [key for key in keys if len({repr(s.get(key)) for s in settings.values()}) > 1]
    shown = [key for key in differing if not key.startswith(("assumed", "data."))]
    return [
        {
            "name": name,
            "hash": fingerprint(settings[name]),
            "is_trained": not settings[name].get(UNTRAINED, False),
            "settings": {key: settings[name].get(key) for key in shown if key != UNTRAINED},
            "seeds": [run.seed for run in runs if run.variant == name and run.results],
        }
        for name in names
    ]


def _data(runs: list[Collected]) -> dict[str, Any]:
    """What was evaluated, by task; of generated studies their number and seed."""
    found: dict[str, Any] = {}
    for results in (results for run in runs for results in run.results):
        counts = {k: results["data"].get(k) for k in ("dataset", "studies", "test_patients")}
        found.setdefault(results["rows"][0]["task"], counts)
    path = next((run.settings.get("data.path") for run in runs), None)
    info = read_options(Path(path)) if path else None
    if info is not None and info.get("dataset") == "phantom":
        found["generated"] = {k: info["options"].get(k) for k in ("size", "seed", "generator")}
    return found


def _by_name_and_seed(folder: Path) -> tuple[str, int]:
    match = _PLACE.fullmatch(folder.name)
    return folder.parent.name, int(match.group(1)) if match else -1
