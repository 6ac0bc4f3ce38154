"""The part of a report about shortcuts: what view, sex and age give away."""

from typing import Any

from mflag.downstream.report_lookup import Results, Series, series_names, series_of
from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.page import Section, bullets, details, paragraph
from mflag.reporting.plots import key_of
from mflag.reporting.tables import MISSING, estimate, percent, table

_NAMES = {"view": "view", "sex": "sex", "age": "age, split at the median"}


def shortcuts_section(results: Results) -> Section | None:
    """Return sentences and tables, or None for data without view, sex and age."""
    found = results["shortcuts"]
    if not found["circumstances"]:
        return None
    sentences: object = (
        bullets(found["sentences"])
        if found["sentences"]
        else paragraph("No label can be told from these alone with an AUC of 0.6 or more.")
    )
    text = paragraph(
        "A network that recognises the view, or the patient's sex or age, scores on every label "
        "that is more frequent there, without seeing the disease. Alone: the AUC on test of an "
        "image's group, by the share of positives that the group has in train."
    )
    parts = [_circumstance(results, c) for c in found["circumstances"]]
    return Section("shortcuts", "Shortcuts", join(text, sentences, *parts))


def _circumstance(results: Results, of: dict[str, Any]) -> Markup:
    heading = tag("h3", f"By {_NAMES[of['circumstance']]}")
    shares = _shares_table(results, of)
    if of["circumstance"] != "view":
        shares = details("Positives in train of each label", shares)
    within = [_within_table(results, of, series) for series in series_of(results)]
    folded = details("AUC of each label within each group", *within)
    return join(heading, shares, _overview_table(results, of), folded)


def _overview_table(results: Results, of: dict[str, Any]) -> Markup:
    """Macro AUC of each series in each group."""
    names = series_names(results)
    rows = [
        [
            key_of(series.name, names),
            *[_within_cell(results, of, series, g, "macro_auc") for g in of["groups"]],
        ]
        for series in series_of(results)
    ]
    kept = next(iter(results["shortcuts"]["within"]), {"fraction": 1.0})
    caption = (
        f"Macro AUC among the test images of a group, at {percent(kept['fraction'])} of the labels "
        "(first draw), over the labels that have positives and negatives in every group of 5 % of "
        "the images or more."
    )
    sizes = _sizes(of["test"])
    return table(caption, ["encoder", *_headings(of["groups"], sizes)], rows)


def _shares_table(results: Results, of: dict[str, Any]) -> Markup:
    name = of["circumstance"]
    shares = {
        (row["label"], row["group"]): row
        for row in results["shortcuts"]["shares"]
        if row["circumstance"] == name
    }
    alone = {
        row["label"]: row for row in results["shortcuts"]["alone"] if row["circumstance"] == name
    }
    rows = [
        [
            label,
            *[_share(shares[label, group]) for group in of["groups"]],
            _estimate(alone.get(label)),
        ]
        for label in results["data"]["labels"]
    ]
    sizes = _sizes(of["train"])
    header = ["label", *_headings(of["groups"], sizes), join(f"{name} alone", tag("small", "AUC"))]
    return table("Share of positives among the training images of each group.", header, rows)


def _within_table(results: Results, of: dict[str, Any], series: Series) -> Markup:
    rows = [
        [
            label,
            *[_within_cell(results, of, series, g, f"auc/{label}") for g in of["groups"]],
        ]
        for label in results["data"]["labels"]
    ]
    sizes = _sizes(of["test"])
    caption = f"AUC of {series.name} among the test images of each group."
    return table(caption, ["label", *_headings(of["groups"], sizes)], rows)


def _within_cell(
    results: Results, of: dict[str, Any], series: Series, group: str, metric: str
) -> Markup:
    wanted = (series.encoder, series.protocol, of["circumstance"], group, metric)
    names = ("encoder", "protocol", "circumstance", "group", "metric")
    rows = results["shortcuts"]["within"]
    return _estimate(next((r for r in rows if tuple(r[n] for n in names) == wanted), None))


def _estimate(row: dict[str, Any] | None) -> Markup:
    if row is None:
        return Markup(MISSING)
    return estimate(row["value" if "value" in row else "auc"], row["ci_low"], row["ci_high"])


def _sizes(counts: list[int]) -> list[str]:
    return [f"{n:,} image{'s' * (n != 1)}" for n in counts]


def _share(row: dict[str, Any]) -> str:
    share = row["share"]
    return MISSING if share is None else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def _headings(groups: list[str], below: list[str]) -> list[Markup]:
    return [join(group, tag("small", text)) for group, text in zip(groups, below, strict=True)]
