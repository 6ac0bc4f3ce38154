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
from mflag.summary.wording import GENERATED, dataset_words, metric_words, task_words


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
    parts: list[Markup] = []
    for task in TASKS:
        of_task = [item for item in found if item.content["task"] == task]
        metrics = dict.fromkeys(
            row["metric"]
            for f in of_task
            for row in f.content["summary"]
            if "/" not in row["metric"]
        )
        tables = [_glance_table(of_task, metric) for metric in metrics]
        if tables:
            folded = details("Other scores of this task", *tables[1:]) if tables[1:] else ""
            parts.append(join(tag("h3", task_words(task)), tables[0], folded))
    text = paragraph(
        "Mean over label draws; below it the 95 % interval over test patients, and the standard "
        "deviation (sd) between draws. Scores of different datasets or label policies cannot be "
        "compared."
    )
    return Section("at-a-glance", "Scores at a glance", join(text, *parts))


def _glance_table(found: list[Found], metric: str) -> Markup:
    fractions = sorted(
        {r["fraction"] for f in found for r in f.content["summary"] if r["metric"] == metric}
    )
    several = len(found) > 1
    rows = []
    for item in found:
        scores = [row for row in item.content["summary"] if row["metric"] == metric]
        for encoder, protocol in dict.fromkeys((r["encoder"], r["protocol"]) for r in scores):
            by_fraction = {
                r["fraction"]: r
                for r in scores
                if (r["encoder"], r["protocol"]) == (encoder, protocol)
            }
            data = [dataset_words(item.content["data"]["dataset"])] + [item.name] * several
            name = join(encoder, tag("small", ", ".join([protocol, *data])))
            rows.append([name, *[_score(by_fraction.get(f)) for f in fractions]])
    return table(f"{metric_words(metric)}.", ["encoder", *map(percent, fractions)], rows)


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
