"""Finding scores in ``results.json`` for a report, and showing them in cells."""

from dataclasses import dataclass
from typing import Any

from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.plots import key_of
from mflag.reporting.tables import MISSING, estimate, number, percent, table

Results = dict[str, Any]
PROTOCOL_NAMES = {
    "linear": "linear probe",
    "finetune": "fine-tuned",
    "frozen": "frozen encoder",
    "update": "frozen weights, BatchNorm statistics updated",
}


@dataclass(frozen=True)
class Series:
    """One encoder under one protocol.

    Attributes:
        encoder: its name.
        protocol: a key of ``PROTOCOL_NAMES``.
        name: what tables and plots call it.
    """

    encoder: str
    protocol: str
    name: str


def encoder_names(results: Results) -> list[str]:
    """Names of the encoders, in order."""
    return [encoder["name"] for encoder in results["encoders"]]


def series_of(results: Results, protocol: str | None = None) -> list[Series]:
    """Every encoder under every protocol, or under one; the protocol's name only where needed."""
    protocols = results["options"]["protocol"]
    suffix = {"finetune": ", fine-tuned"} if len(protocols) > 1 else {}
    return [
        Series(encoder, p, encoder + suffix.get(p, ""))
        for p in protocols
        for encoder in encoder_names(results)
        if protocol in (None, p)
    ]


def series_names(results: Results) -> list[str]:
    """Names of all series: colours go by the place among them."""
    return [series.name for series in series_of(results)]


def find(results: Results, series: Series, fraction: float, metric: str) -> Any:
    """The summary of a score, or None."""
    key = (series.encoder, series.protocol, fraction, metric)
    names = ("encoder", "protocol", "fraction", "metric")
    return next((r for r in results["summary"] if tuple(r[n] for n in names) == key), None)


def has(results: Results, metric: str) -> bool:
    """Whether anything has this score."""
    return any(row["metric"] == metric for row in results["summary"])


def point(results: Results, series: Series, fraction: float, metric: str) -> Any:
    """Value and interval of a score for a plot, or None."""
    row = find(results, series, fraction, metric)
    return None if row is None else (row["value"], row["ci_low"], row["ci_high"])


def points(results: Results, metric: str) -> dict[str, list[dict[str, Any]]]:
    """Summaries over fractions by series, with ``x`` and the values of the single ``draws``."""
    found: dict[str, list[dict[str, Any]]] = {}
    for series in series_of(results):
        for fraction in results["options"]["fraction"]:
            row = find(results, series, fraction, metric)
            if row is None:
                continue
            key = (series.encoder, series.protocol, fraction, metric)
            draws = [
                r["value"]
                for r in results["rows"]
                if (r["encoder"], r["protocol"], r["fraction"], r["metric"]) == key
            ]
            shown = row | {"x": row["n_train"], "draws": draws if len(draws) > 1 else []}
            found.setdefault(series.name, []).append(shown)
    return found


def middle_fraction(results: Results, metric: str) -> float:
    """The middle one of the fractions that have a score, the lower of two."""
    fractions = sorted({r["fraction"] for r in results["summary"] if r["metric"] == metric})
    return fractions[(len(fractions) - 1) // 2]


def cell(
    results: Results, series: Series, fraction: float, metric: str, spread: bool = False
) -> Markup:
    """A score with its interval; with ``spread`` also the deviation between draws."""
    row = find(results, series, fraction, metric)
    if row is None:
        return Markup(MISSING)
    extra = f"sd {number(row['sd'])}" if spread and row["sd"] is not None else ""
    return estimate(row["value"], row["ci_low"], row["ci_high"], extra)


def table_by_fraction(results: Results, metric: str, caption: str) -> Markup:
    """A row a series, a column a fraction."""
    names, fractions = series_names(results), results["options"]["fraction"]
    header: list[object] = ["encoder"]
    for fraction in fractions:
        sizes = [r["n_train"] for r in results["rows"] if r["fraction"] == fraction]
        count = f"{sizes[0]:,} labelled" if sizes else MISSING
        header.append(join(percent(fraction), tag("small", count)))
    rows = [
        [
            key_of(series.name, names),
            *[cell(results, series, f, metric, spread=True) for f in fractions],
        ]
        for series in series_of(results)
        if any(find(results, series, f, metric) for f in fractions)
    ]
    return table(caption, header, rows)
