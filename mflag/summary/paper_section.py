"""The paper's own figures on the page: always in tables of their own, always called the paper's."""

from typing import Any

from mflag.downstream.report_lookup import find, series_names, series_of
from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.page import Section, bullets, details, paragraph
from mflag.reporting.plots import key_of
from mflag.reporting.tables import MISSING, percent, table
from mflag.summary.paper_tables import (
    ALL_EMPTY_DICE,
    COLUMNS,
    TABLES,
    PaperRow,
    PaperTable,
    column_of,
    table_of,
)
from mflag.summary.wording import BASELINES, metric_words

NO_SPREAD = (
    "The paper prints neither seeds nor a spread nor a test of significance: a difference of a "
    "point or less between two of its figures means nothing by itself."
)
_CAVEATS = {
    "classification": (
        "The same images do not make the same split: the paper's 5,000 validation ids are "
        "unpublished, and its label policy is not stated."
    ),
    "segmentation": (
        "The paper does not say over which images its Dice is averaged. If it is the mean over all "
        "images, with 1 where both masks are empty (MGCA's code), then a predictor that marks "
        "nothing scores {baseline:.2f} %, more than every figure of this column."
    ),
    "detection": (
        "The paper does not state its protocol. MGCA's, shown here, leaves out images without "
        "boxes and images without predictions, so neither false alarms nor complete misses count."
    ),
}


def beside_section(results: dict[str, Any]) -> Section | None:
    """Return our table beside the paper's column of the same images, or None where it has none.

    Args:
        results: the content of an evaluation's ``results.json``.
    """
    key = column_of(results["task"], results["data"]["dataset"])
    if key is None:
        return None
    column, of_paper = COLUMNS[key], table_of(key)
    tables = tag("div", _ours(results, column.metric), _paper_column(of_paper, key), class_="pair")
    baseline = ALL_EMPTY_DICE.get(column.dataset, 0.0)
    caveat = _CAVEATS[results["task"]].format(baseline=baseline)
    text = paragraph(
        "Left: measured here. Right: printed in the paper, on the same set of images. The two "
        "were not measured together."
    )
    warnings = [
        paragraph(tag("strong", "Read with care. "), caveat, " ", NO_SPREAD, class_="warning")
    ]
    return Section("beside-the-paper", "Beside the paper", join(text, tables, *warnings))


def paper_section(has_matching: bool) -> Section:
    """Return Tables 2 to 5 as printed, folded.

    Args:
        has_matching: some evaluation on this page is of a set of images that the paper uses.
    """
    where = (
        "Evaluations of the same sets of images show the paper's column beside ours above."
        if has_matching
        else "Nothing measured on this page is of the paper's images: these tables are for "
        "orientation, about another kind of data, and cannot be compared with ours."
    )
    remarks: list[object] = [
        NO_SPREAD,
        join(
            "Every Dice of RSNA and SIIM in Table 3 lies below the score of a predictor that marks "
            "nothing, if Dice is averaged over all images with 1 for an empty pair: ",
            tag("strong", "0.7656"), " on RSNA, ", tag("strong", "0.7786"), " on SIIM.",
        ),
        "Bold as printed, where ties are bold in one row alone. The 38.3 M of Random and ImageNet "
        "are not explained there.",
    ]  # fmt: skip
    folded = [details(f"The paper's Table {t.number}: {t.title}", _whole(t)) for t in TABLES]
    source = paragraph(
        "Liu et al., M-FLAG: Medical Vision-Language Pre-training with Frozen Language Models and "
        "Latent Space Geometry Optimization, MICCAI 2023. AUC, Dice and mAP in %, trainable "
        "parameters in millions.",
        class_="quiet",
    )
    text = paragraph(where, class_="warning")
    body = join(text, bullets(remarks), *folded, source)
    return Section("paper", "The paper's tables", body)


def _ours(results: dict[str, Any], metric: str) -> Markup:
    names, fractions = series_names(results), results["options"]["fraction"]
    rows = [
        [
            key_of(series.name, names),
            *[score_cell(find(results, series, f, metric)) for f in fractions],
        ]
        for series in series_of(results)
        if any(find(results, series, f, metric) for f in fractions)
    ]
    for baseline in BASELINES.get(metric, ()):
        found = [row for row in results["summary"] if row["metric"] == baseline]
        rows += [[row["encoder"], *[score_cell(row)] * len(fractions)] for row in found]
    caption = (
        f"Measured here, in %: {metric_words(metric)}. Mean over label draws, below it the 95 % "
        "interval."
    )
    return table(caption, ["encoder", *map(percent, fractions)], rows)


def score_cell(row: dict[str, Any] | None) -> Markup:
    """Return a score of ours and its interval in %, as the paper prints its own; None is a dash."""
    if row is None:
        return Markup(MISSING)
    low, high = row["ci_low"], row["ci_high"]
    known = low is not None and high is not None
    words = f"{100 * low:.1f}\N{EN DASH}\N{WORD JOINER}{100 * high:.1f}" if known else MISSING
    return join(tag("span", f"{100 * row['value']:.1f}"), tag("small", words))


def _paper_column(of: PaperTable, key: str) -> Markup:
    rows = [[row.name, *figures(row, key, of)] for row in of.rows]
    caption = f"The paper's Table {of.number}, {COLUMNS[key].title} in %. Bold as printed."
    return table(caption, ["method", *map(percent, of.fractions)], rows)


def _whole(of: PaperTable) -> Markup:
    has_parameters = any(row.parameters is not None for row in of.rows)
    several = len(of.fractions) > 1
    header: list[object] = ["method", *["parameters"] * has_parameters]
    for key in of.columns:
        for fraction in of.fractions:
            below = [tag("small", percent(fraction))] * several
            header.append(join(COLUMNS[key].title, *below))
    rows = []
    for row in of.rows:
        cells = [figure for key in of.columns for figure in figures(row, key, of)]
        name = tag("strong" if row.bold_parameters else "span", _one_digit(row.parameters))
        rows.append([row.name, *[name] * has_parameters, *cells])
    return table(f"The paper's Table {of.number}. {of.title}.", header, rows)


def figures(row: PaperRow, key: str, of: PaperTable) -> list[Markup]:
    """Return what a row of the paper's table holds in a column, bold as printed."""
    bold = row.bold.get(key, ())
    return [
        tag("strong" if k in bold else "span", _one_digit(value))
        for k, value in enumerate(row.cells[key][: len(of.fractions)])
    ]


def _one_digit(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1f}"
