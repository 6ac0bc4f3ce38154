"""Parts of a report that are the same for every task."""

from collections.abc import Mapping
from typing import Any

from mflag.downstream.report_lookup import PROTOCOL_NAMES, Results, encoder_names
from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.page import Section, paragraph
from mflag.reporting.plots import key_of
from mflag.reporting.tables import MISSING, number, percent, span, table

LABEL_DRAWS = (
    "Label draws",
    "Rows of the train split, drawn with seeds 0, 1, …, the same rows for every encoder. A "
    "smaller fraction is a part of the larger one of the same seed; drawn_ids.parquet lists them. "
    "At 100 % nothing is drawn, so there is one seed.",
)


def intervals(results: Results) -> tuple[object, object]:
    """Return a term and what it means: how intervals come about."""
    data, options = results["data"], results["options"]
    return (
        "Intervals",
        f"Bootstrap over the {data['test_patients']:,} test patients, {options['resamples']:,} "
        "resamples, 2.5 and 97.5 % quantiles; all images of a patient are drawn together, and the "
        "same resamples serve every encoder. They do not cover training the encoder again.",
    )


def differences_section(results: Results, titles: Mapping[str, str]) -> Section | None:
    """Return the paired differences between encoders, or None where nothing is compared.

    Args:
        results: the content of ``results.json``.
        titles: what its metrics are called.
    """
    found: dict[tuple[str, str], dict[tuple[str, str], dict[float, Any]]] = {}
    for row in results["differences"]:
        pairs = found.setdefault((row["metric"], row["protocol"]), {})
        pairs.setdefault((row["encoder"], row["minus"]), {})[row["fraction"]] = row
    if not found:
        return None
    names, fractions = encoder_names(results), results["options"]["fraction"]
    tables = []
    for (metric, protocol), pairs in found.items():
        rows = [
            [
                join(key_of(pair[0], names), tag("small", f"minus {pair[1]}")),
                *[_difference_cell(by_fraction.get(f)) for f in fractions],
            ]
            for pair, by_fraction in pairs.items()
        ]
        title = f"{titles[metric]}, {PROTOCOL_NAMES[protocol]}"
        tables.append(table(title, ["encoders", *map(percent, fractions)], rows))
    text = paragraph(
        "Paired: the same label draws and the same resampled test patients on both sides. Below "
        "each difference its 95 % interval; bold where that excludes 0. The intervals are not "
        "corrected for the number of comparisons."
    )
    return Section("differences", "Differences", join(text, tag("div", *tables, class_="pair")))


def _difference_cell(row: dict[str, Any] | None) -> Markup:
    if row is None:
        return Markup(MISSING)
    excludes_zero = row["ci_low"] is not None and (row["ci_low"] > 0 or row["ci_high"] < 0)
    value = tag("strong" if excludes_zero else "span", number(row["value"], sign=True))
    return join(value, tag("small", span(row["ci_low"], row["ci_high"], sign=True)))


def provenance_section(results: Results) -> Section:
    """Return encoders, command, versions, machine."""
    rows = [
        [e["name"], e["arch"], f"{e['image_size']} px", e["origin"]] for e in results["encoders"]
    ]
    encoders = table("Encoders.", ["name", "architecture", "input", "weights"], rows)
    versions = ", ".join(f"{name} {v}" for name, v in results["versions"].items())
    command = tag("pre", tag("code", results["command"]))
    body = join(
        encoders, tag("h3", "Command"), command, paragraph(versions), paragraph(results["machine"])
    )
    return Section("provenance", "Where it comes from", body)
