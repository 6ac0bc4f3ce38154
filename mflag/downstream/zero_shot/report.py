"""The report of a zero-shot classification, built from ``results.json``."""

from collections.abc import Mapping
from typing import Any

from mflag.data.label_policy import POLICIES
from mflag.downstream.report_sections import provenance_section
from mflag.reporting.gallery import Picture
from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.page import Section, bullets, definitions, paragraph
from mflag.reporting.plots import Plot, dots_plot, key_of
from mflag.reporting.tables import MISSING, estimate, number, span, table

Results = dict[str, Any]


def build_plots(results: Results) -> dict[str, Plot]:
    """Draw the AUC of each label."""
    groups = _labels(results)
    if not groups:
        return {}
    series = {
        name: [_point(results, name, f"auc/{group}") for group in groups]
        for name in _names(results)
    }
    title = "Zero-shot AUC of each label"
    return {"zero_shot": dots_plot("zero_shot", title, groups, series, "AUC on test")}


def lead(results: Results) -> Markup:
    """The first encoder beside chance."""
    first = _names(results)[0]
    own, data = _find(results, first, "macro_auc"), results["data"]
    if own is None:
        return paragraph("No label could be scored; see the remarks.", class_="lead")
    sentence = join(
        "Without a labelled image, ",
        tag("strong", f"{first} reaches a macro AUC of {number(own['value'])}"),
        f" (95 % interval {span(own['ci_low'], own['ci_high'])}) on "
        f"{data['studies']['test']:,} test images; chance is 0.5.",
    )
    return paragraph(sentence, class_="lead")


def sections(results: Results, plots: Mapping[str, Plot], pictures: list[Picture]) -> list[Section]:
    """Return the parts of the report."""
    names = _names(results)
    metrics = ["macro_auc", *[f"auc/{label}" for label in _labels(results)]]
    rows = [
        [
            "all, macro" if metric == "macro_auc" else metric.removeprefix("auc/"),
            *[_cell(_find(results, name, metric)) for name in names],
        ]
        for metric in metrics
    ]
    caption = (
        "AUC on test, and the 95 % interval over test patients. 0.5 is chance; labels without "
        "positives or negatives on test are left out."
    )
    scores = table(caption, ["label", *[key_of(name, names) for name in names]], rows)
    drawn = [plot.inline("AUC with its 95 % interval.") for plot in plots.values()]
    notes: object = bullets(results["notes"]) if results["notes"] else ""
    return [
        Section("zero-shot", "Labels by sentences", join(scores, *drawn, notes)),
        _prompts(results),
        _method(results),
        provenance_section(results),
    ]


def remarks(results: Results) -> list[str]:
    """Lines for the terminal beside the scores."""
    policy = results["options"]["label_policy"]
    return [f"label policy {policy}: {POLICIES[policy]}", "chance is a macro AUC of 0.5"]


def _prompts(results: Results) -> Section:
    rows = [
        [label, " ".join(found["positive"]), " ".join(found["negative"]) or MISSING]
        for label, found in results["prompts"].items()
    ]
    lists = table("Sentences; each side is averaged.", ["label", "affirmed", "denied"], rows)
    return Section("prompts", "Sentences", tag("div", lists, class_="sentences"), _STYLE)


_STYLE = ".sentences td{white-space:normal;text-align:left;min-width:11rem}"


def _method(results: Results) -> Section:
    options, data = results["options"], results["data"]
    pairs: list[tuple[object, object]] = [
        (
            "Score",
            "Cosine of the image with the mean of the affirming sentences, minus that with the "
            "mean of the denying ones, in the space of the encoder's run: its projector, its "
            "frozen text encoder, centred as in training. No label is used, so nothing is drawn.",
        ),
        (
            "Labels",
            f"Policy {options['label_policy']}: {POLICIES[options['label_policy']]}.",
        ),
        (
            "Intervals",
            f"Bootstrap over the {data['test_patients']:,} test patients, "
            f"{options['resamples']:,} resamples.",
        ),
    ]
    return Section("method", "How it was measured", definitions(pairs))


def _names(results: Results) -> list[str]:
    return [encoder["name"] for encoder in results["encoders"]]


def _labels(results: Results) -> list[str]:
    scored = {row["metric"] for row in results["summary"]}
    return [label for label in results["prompts"] if f"auc/{label}" in scored]


def _find(results: Results, name: str, metric: str) -> Any:
    key = (name, metric)
    rows = results["summary"]
    return next((r for r in rows if (r["encoder"], r["metric"]) == key), None)


def _point(results: Results, name: str, metric: str) -> Any:
    row = _find(results, name, metric)
    return None if row is None else (row["value"], row["ci_low"], row["ci_high"])


def _cell(row: Any) -> Markup:
    if row is None:
        return Markup(MISSING)
    return estimate(row["value"], row["ci_low"], row["ci_high"])
