"""Evaluations on the page: each task's own report, and all of their scores at a glance."""

from typing import Any

from mflag.downstream import TASKS
from mflag.reporting.gallery import Picture, read_pictures
from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.page import Section, details, paragraph
from mflag.reporting.parts import nested, slug
from mflag.reporting.tables import MISSING, estimate, percent, table
from mflag.summary.found import Found
from mflag.summary.paper_section import beside_section
from mflag.summary.wording import (
    BASELINES,
    GENERATED,
    HEADLINES,
    dataset_words,
    metric_words,
    task_words,
)


def is_known(found: Found) -> bool:
    """Whether this version has the task of an evaluation."""
    return found.content["task"] in TASKS


def is_generated(found: Found) -> bool:
    """Whether an evaluation is of generated studies."""
    return bool(found.content["data"]["dataset"] == GENERATED)


def has_pictures(found: Found) -> bool:
    """Whether pictures stand beside an evaluation."""
    return bool(_pictures(found))


def evaluation_section(
    found: Found, others: list[Found], embed_images: bool, taken: set[str]
) -> Section:
    """Return the report of one evaluation as a part of the page.

    Args:
        found: the evaluation.
        others: all evaluations, to see whether its title needs the folder.
        embed_images: also show pictures of real studies.
        taken: ids that are in use; grows.
    """
    results = found.content
    task = TASKS[results["task"]]
    plots = task.plots(results)
    shown = is_generated(found) or embed_images
    pictures = _pictures(found) if shown else []
    title = _title(found)
    same = [o for o in others if _title(o) == title]
    whole = f"{title} ({found.name})" if len(same) > 1 else title
    own = task.sections(results, plots, pictures)
    beside = beside_section(results)
    parts = [*own[:1], beside, *own[1:]] if beside else own
    origin = paragraph(
        f"From {found.name}/results.json; the command, versions and machine stand at the end of "
        "this part.",
        class_="quiet",
    )
    hidden = "" if shown or not has_pictures(found) else _hidden()
    intro = join(task.lead(results), origin, hidden)
    return nested(slug(whole, taken), whole, intro, parts)


def glance_section(found: list[Found]) -> Section | None:
    """Return a table for each score that summarises a task; None without evaluations."""
    if not found:
        return None
    parts = [_task_at_a_glance([f for f in found if f.content["task"] == task]) for task in TASKS]
    text = paragraph(
        "Mean over label draws; below it the 95 % interval over test patients, and the standard "
        "deviation (sd) between draws. Scores of different datasets or label policies cannot be "
        "compared."
    )
    return Section("at-a-glance", "Scores at a glance", join(text, *parts))


def by_task(found: list[Found]) -> list[Found]:
    """Return evaluations in the order of the tasks, and by name within one."""
    order = list(TASKS)
    return sorted(found, key=lambda item: order.index(item.content["task"]))


def _task_at_a_glance(found: list[Found]) -> Markup:
    """The headlines of a task side by side, its other scores folded."""
    if not found:
        return Markup("")
    task = found[0].content["task"]
    measured = dict.fromkeys(
        row["metric"] for f in found for row in f.content["summary"] if "/" not in row["metric"]
    )
    beside = {name for main in measured for name in BASELINES.get(main, ())}
    metrics = [metric for metric in measured if metric not in beside]
    first = [metric for metric in HEADLINES.get(task, ()) if metric in metrics] or metrics[:1]
    tables = [_glance_table(found, metric) for metric in first]
    others = [_glance_table(found, metric) for metric in metrics if metric not in first]
    folded = details(f"Other scores of {task_words(task).lower()}", *others) if others else ""
    return join(tag("h3", task_words(task)), tag("div", *tables, class_="pair"), folded)


def _glance_table(found: list[Found], metric: str) -> Markup:
    """A row an encoder and protocol of each evaluation, a column a share of the labels."""
    several, rows = len(found) > 1, []
    wanted = (metric, *BASELINES.get(metric, ()))
    scores = [
        (item, row) for item in found for row in item.content["summary"] if row["metric"] in wanted
    ]
    fractions = sorted({row["fraction"] for _, row in scores})
    keys = ("metric", "encoder", "protocol")
    series: dict[tuple[str, ...], dict[float, dict[str, Any]]] = {}
    for item, row in scores:
        key = (item.name, item.content["data"]["dataset"], *(row[k] for k in keys))
        series.setdefault(key, {})[row["fraction"]] = row
    for (name, dataset, _, encoder, protocol), by_fraction in series.items():
        where = [dataset_words(dataset)] + [name] * several
        shown = join(encoder, tag("small", ", ".join([protocol, *where])))
        rows.append([shown, *[_score(by_fraction.get(f)) for f in fractions]])
    header = [percent(f) if f else "no labels" for f in fractions]
    return table(f"{metric_words(metric)}.", ["encoder", *header], rows)


def _score(row: dict[str, Any] | None) -> Markup:
    if row is None:
        return Markup(MISSING)
    sd = row.get("sd")
    extra = "" if sd is None else f"sd {sd:.3f}"
    return estimate(row["value"], row["ci_low"], row["ci_high"], extra)


def _title(found: Found) -> str:
    results = found.content
    return f"{task_words(results['task'])}, {dataset_words(results['data']['dataset'])}"


def _pictures(found: Found) -> list[Picture]:
    return read_pictures(found.path.parent)


def _hidden() -> Markup:
    return paragraph(
        "Pictures and report text of real studies stand beside these results; they are left out "
        "here. report.embed_images=true shows them.",
        class_="quiet",
    )
