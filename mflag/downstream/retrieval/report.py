"""The report of a retrieval, built from ``results.json`` and pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

from mflag.data.label_policy import POLICIES
from mflag.downstream.report_sections import provenance_section
from mflag.downstream.retrieval.evaluation import CHANCE
from mflag.downstream.retrieval.ranking import TOP
from mflag.reporting.gallery import Picture, gallery
from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.page import Section, bullets, definitions, paragraph
from mflag.reporting.plots import Plot, dots_plot, key_of
from mflag.reporting.tables import MISSING, estimate, percent, table

Results = dict[str, Any]
RECALL = [f"recall@{k}" for k in TOP]
_ENDS = ("ci_low", "ci_high")
FINDINGS = [f"precision_findings@{k}" for k in TOP]


def build_plots(results: Results) -> dict[str, Plot]:
    """Draw recall, and precision by findings where there are labels."""
    words = {"recall": (RECALL, "Own report among the first k"),
             "precision_findings": (FINDINGS, "Same findings among the first k")}  # fmt: skip
    plots = {}
    for name, (metrics, title) in words.items():
        shown = [m for m in metrics if any(row["metric"] == m for row in results["summary"])]
        if shown:
            series = {n: [_point(results, n, m) for m in shown] for n in _names(results)}
            groups = [f"k = {metric.partition('@')[2]}" for metric in shown]
            plots[name] = dots_plot(name, title, groups, series, "share")
    return plots


def lead(results: Results) -> Markup:
    """The first encoder beside a random order."""
    data, first = results["data"], _names(results)[0]
    own, chance = (_find(results, name, "recall@10") for name in (first, CHANCE))
    low, high = (MISSING if own[n] is None else percent(round(own[n], 3)) for n in _ENDS)
    sentence = join(
        f"{data['images']:,} test images, {data['reports']:,} reports: ",
        tag("strong", f"{first} puts the right one among its first ten for "
            f"{percent(round(own['value'], 3))}"),
        f" of the images (95 % interval {low} to {high}); a random order would for "
        f"{percent(round(chance['value'], 3))}.",
    )  # fmt: skip
    return paragraph(sentence, class_="lead")


def sections(results: Results, plots: Mapping[str, Plot], pictures: list[Picture]) -> list[Section]:
    """Return the parts of the report."""
    notes: object = bullets(results["notes"]) if results["notes"] else ""
    own = table(
        "Own report: share of images for which it is among the first k, and its median place. "
        "Below, the 95 % interval over test patients.",
        ["encoder", *[f"recall@{k}" for k in TOP], "median rank"],
        _rows(results, [*RECALL, "median_rank"]),
    )
    parts = [own, *[plots[name].inline("") for name in ("recall",) if name in plots]]
    found = [Section("retrieval", "From image to report", join(*parts, notes))]
    if "precision_findings" in plots:
        same = table(
            "Share of the first k reports whose findings are all those of the image.",
            ["encoder", *[f"k = {metric.partition('@')[2]}" for metric in FINDINGS]],
            _rows(results, FINDINGS),
        )
        body = join(same, plots["precision_findings"].inline(""))
        found.append(Section("findings", "Reports with the same findings", body))
    if pictures:
        found.append(Section("examples", "Example studies", gallery(pictures)))
    return [*found, _method(results), provenance_section(results)]


def remarks(results: Results) -> list[str]:
    """Lines for the terminal beside the scores."""
    data = results["data"]
    return [f"{data['images']:,} test images, {data['reports']:,} distinct reports"]


def _names(results: Results) -> list[str]:
    return [*[encoder["name"] for encoder in results["encoders"]], CHANCE]


def _find(results: Results, name: str, metric: str) -> Any:
    key = (name, metric)
    rows = results["summary"]
    return next((r for r in rows if (r["encoder"], r["metric"]) == key), None)


def _point(results: Results, name: str, metric: str) -> Any:
    row = _find(results, name, metric)
    return None if row is None else (row["value"], row["ci_low"], row["ci_high"])


def _rows(results: Results, metrics: Sequence[str]) -> list[list[object]]:
    names = _names(results)
    return [
        [key_of(name, names), *[_cell(_find(results, name, metric)) for metric in metrics]]
        for name in names
    ]


def _cell(row: Any) -> Markup:
    if row is None:
        return Markup(MISSING)
    if row["metric"] == "median_rank":
        ends = [row["ci_low"], row["ci_high"]]
        interval = MISSING if None in ends else "–".join(f"{end:,.0f}" for end in ends)
        return join(f"{row['value']:,.0f}", tag("small", interval))
    return estimate(row["value"], row["ci_low"], row["ci_high"])


def _method(results: Results) -> Section:
    options = results["options"]
    pairs: list[tuple[object, object]] = [
        (
            "Vectors",
            "Images: frozen features through the projector of the encoder's run. Reports: the "
            "run's frozen text encoder, centred as in training. Both of unit length; reports are "
            "ordered by cosine, equal ones by a fixed random order.",
        ),
        (
            "Reports to choose from",
            "The distinct reports of the test split. Recall@k: the image's own is among the first "
            "k; its precision is recall / k, for there is one.",
        ),
        (
            "Same findings",
            "A report has the findings of the study that it describes, under the label policy "
            f"{options['label_policy']} ({POLICIES[options['label_policy']]}); all must agree, "
            "masked ones aside.",
        ),
        ("Chance", "What a random order of the same reports reaches on average, computed."),
        (
            "Intervals",
            f"Bootstrap over the {results['data']['patients']:,} test patients, "
            f"{options['resamples']:,} resamples; the reports to choose from stay the same.",
        ),
    ]
    return Section("method", "How it was measured", definitions(pairs))
