"""The page: which parts, in which order."""

import contextlib
from collections.abc import Iterator

from mflag.downstream.results import provenance
from mflag.errors import InputError
from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.page import Section, bullets, paragraph, render_page
from mflag.reporting.tables import MISSING, table
from mflag.summary.ablations import ablation_section
from mflag.summary.ablations import has_column as ablations_of_paper
from mflag.summary.analyses import analysis_section
from mflag.summary.evaluations import (
    by_task,
    evaluation_section,
    glance_section,
    has_pictures,
    is_generated,
    is_known,
)
from mflag.summary.found import KINDS, Findings, Found
from mflag.summary.paper_section import paper_section
from mflag.summary.paper_tables import column_of
from mflag.summary.prepared_data import data_section
from mflag.summary.training_runs import runs_section
from mflag.summary.wording import dataset_words

# In the page's head: tells a page of this program from other files.
MARK = '<meta name="generator" content="mflag.report">'
_COUNTED = {
    "data": ("prepared set", "prepared sets"),
    "run": ("training run", "training runs"),
    "analysis": ("analysis of latents", "analyses of latents"),
    "evaluation": ("evaluation", "evaluations"),
    "ablation": ("ablation", "ablations"),
}
_UNKNOWN_SHOWN = 20


def compose_page(findings: Findings, title: str, embed_images: bool) -> str:
    """Return the whole HTML document.

    Args:
        findings: of ``find``.
        title: heading and name of the browser's tab.
        embed_images: also show pictures and report text of real studies.

    Raises:
        InputError: a file lacks what this version needs of it.
    """
    evaluations = by_task([item for item in findings.of("evaluation") if is_known(item)])
    analyses, prepared = findings.of("analysis"), findings.of("data")
    ablations = findings.of("ablation")
    has_column = any(map(_has_column, evaluations))
    taken = {"data", "pre-training", "at-a-glance", "paper", "sources", "main"}
    with _naming(evaluations):
        found = [glance_section(evaluations)]
    with _naming(prepared):
        found.append(data_section(prepared))
    found.append(runs_section(findings.of("run"), _encoders(evaluations, analyses)))
    for item in analyses:
        with _naming([item]):
            found.append(analysis_section(item, analyses, taken))
    for item in evaluations:
        with _naming([item]):
            found.append(evaluation_section(item, evaluations, embed_images, taken))
    for item in ablations:
        with _naming([item]):
            found.append(ablation_section(item, taken))
            has_column |= ablations_of_paper(item)
    found += [paper_section(has_column), _sources(findings)]
    kept = [section for section in found if section is not None]
    return render_page(title, _lead(findings), kept, MARK)


def pictures_of_real_studies(findings: Findings) -> list[Found]:
    """Return the evaluations whose pictures need the user's consent."""
    known = [item for item in findings.of("evaluation") if is_known(item)]
    return [item for item in known if not is_generated(item) and has_pictures(item)]


@contextlib.contextmanager
def _naming(items: list[Found]) -> Iterator[None]:
    """Turn what a file lacks into an error that names it."""
    try:
        yield
    except (KeyError, TypeError) as error:
        names = ", ".join(str(item.path) for item in items)
        program = KINDS[items[0].path.name].program
        raise InputError(
            f"{names}: not as this version writes it ({error!r}); run {program} again"
        ) from error


def _encoders(evaluations: list[Found], analyses: list[Found]) -> list[str]:
    """Names of all encoders, in their order."""
    names = [e["name"] for item in evaluations for e in item.content["encoders"]]
    names += [row["encoder"] for item in analyses for row in item.content["rows"]]
    return list(dict.fromkeys(names))


def _has_column(item: Found) -> bool:
    return column_of(item.content["task"], item.content["data"]["dataset"]) is not None


def _lead(findings: Findings) -> Markup:
    counts = {kind: len(findings.of(kind)) for kind in _COUNTED}
    words = [f"{count:,} {_COUNTED[kind][count > 1]}" for kind, count in counts.items() if count]
    evaluated = [item.content["data"]["dataset"] for item in findings.of("evaluation")]
    datasets = list(dict.fromkeys(map(dataset_words, evaluated)))
    on = f" Evaluated on {', '.join(datasets)}." if datasets else ""
    return join(paragraph(f"{', '.join(words)}.{on}", class_="lead"), *_notes(findings))


def _notes(findings: Findings) -> list[Markup]:
    notes: list[object] = [
        f"{owner} is an ablation: {count:,} runs and evaluations of its own are a part of it and "
        "are not shown one by one."
        for owner, count in findings.inside.items()
    ]
    notes += [
        f"{item.name}/results.json is of task {item.content['task']!r}, which this version does "
        "not know; it is left out."
        for item in findings.of("evaluation")
        if not is_known(item)
    ]
    if findings.unknown:
        shown = findings.unknown[:_UNKNOWN_SHOWN]
        more = len(findings.unknown) - len(shown)
        rest = f" and {more:,} more" if more else ""
        notes.append(f"Files of no known kind, left out: {', '.join(shown)}{rest}.")
    return [bullets(notes)] if notes else []


def _sources(findings: Findings) -> Section:
    rows = [
        [
            f"{item.name}/{item.path.name}",
            KINDS[item.path.name].program,
            tag("code", item.content["command"]) if "command" in item.content else MISSING,
            item.content.get("machine", MISSING),
        ]
        for item in findings.items
    ]
    caption = "Every file that this page was made of."
    read = table(caption, ["file", "program", "command", "machine"], rows, holds_words=True)
    own = provenance("mflag.report")
    versions = ", ".join(f"{name} {version}" for name, version in own["versions"].items())
    command = tag("pre", tag("code", own["command"]))
    body = join(read, tag("h3", "This page"), command, paragraph(versions))
    return Section("sources", "Where it comes from", body)
