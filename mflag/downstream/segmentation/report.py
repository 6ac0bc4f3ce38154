"""The report of a segmentation, built from ``results.json`` alone (and pictures)."""

from collections.abc import Mapping

from mflag.downstream.report_lookup import (
    PROTOCOL_NAMES,
    Results,
    cell,
    find,
    points,
    series_names,
    series_of,
    table_by_fraction,
)
from mflag.downstream.report_sections import differences_section, provenance_section
from mflag.downstream.segmentation.method import method_section
from mflag.reporting.gallery import Picture, gallery
from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.page import Section, bullets, details, paragraph
from mflag.reporting.plots import Plot, estimates_plot, key_of
from mflag.reporting.tables import MISSING, estimate, number, percent, span, table

TITLES = {
    "dice_positive": "Dice of images with a mask",
    "dice_all": "Dice of all images",
    "dice_pooled": "Dice of all pixels at once",
}
_SPECIFICITY = "Images without a mask of which nothing is marked"
_BASELINE = "dice_all_empty_baseline"


def build_plots(results: Results) -> dict[str, Plot]:
    """Draw each Dice by number of labels; that of all images with the all-empty predictor's."""
    plots = {}
    for metric, title in TITLES.items():
        series = points(results, metric)
        if series:
            words = {"x": "labelled images (log scale)", "y": title}
            lines = {"all-empty": _baseline(results, _BASELINE)} if metric == "dice_all" else {}
            title = f"{title} by number of labels"
            plots[metric] = estimates_plot(metric, title, series, words, lines)
    return plots


def lead(results: Results) -> Markup:
    """One sentence a fraction: the first encoder beside the random one."""
    data, sizes = results["data"], results["data"]["studies"]
    first = series_of(results)[0]
    lines: list[object] = []
    for row in results["differences"]:
        wanted = (first.encoder, "random", "dice_positive")
        if (row["encoder"], row["minus"], row["metric"]) != wanted:
            continue
        own = find(results, first, row["fraction"], "dice_positive")
        lines.append(
            join(
                f"With {percent(row['fraction'])} of the labels ({own['n_train']:,} images), ",
                tag("strong", f"{first.encoder} reaches a Dice of {number(own['value'])}"),
                f" on images with a mask; random weights reach "
                f"{number(own['value'] - row['value'])}. Difference "
                f"{number(row['value'], sign=True)}, 95 % interval "
                f"{span(row['ci_low'], row['ci_high'], sign=True)}.",
            )
        )
    about = (
        f"Segmentation of {data['finding']}, U-Net on a {PROTOCOL_NAMES[first.protocol]}: "
        f"{sizes['train']:,} training, {sizes['valid']:,} validation and {sizes['test']:,} test "
        "images."
    )
    caution = paragraph(
        f"Predicting nothing scores a Dice of {number(_baseline(results, _BASELINE), 4)} over all "
        "test images, because an empty prediction of an image without a mask counts as 1.",
        class_="quiet",
    )
    return join(paragraph(about, class_="lead"), caution, bullets(lines) if lines else "")


def remarks(results: Results) -> list[str]:
    """Lines for the terminal: what is foreground, and scores that predicting nothing beats."""
    data, empty = results["data"], _baseline(results, _BASELINE)
    below = [
        f"below the all-empty predictor: dice_all of {row['encoder']} at "
        f"{100 * row['fraction']:g} % of the labels is {row['value']:.3f}, predicting nothing "
        f"scores {empty:.4f}"
        for row in results["summary"]
        if row["metric"] == "dice_all" and row["value"] < empty
    ]
    return [f"foreground: {data['finding']} ({', '.join(data['lesions'])})", *below]


def sections(results: Results, plots: Mapping[str, Plot], pictures: list[Picture]) -> list[Section]:
    """Return the parts of the report.

    Args:
        results: the content of ``results.json``.
        plots: of ``build_plots``.
        pictures: test images with outlines; none for real data unless the user asked.
    """
    found = [
        _findings(results, plots),
        differences_section(results, TITLES),
        _views(results),
        _examples(pictures),
        _data(results),
        method_section(results),
        provenance_section(results),
    ]
    return [section for section in found if section is not None]


def _findings(results: Results, plots: Mapping[str, Plot]) -> Section:
    seeds = results["options"]["seeds"]
    how = (
        f"mean over label draws ({seeds} below 100 %, one at 100 %). Below it the 95 % interval "
        "over test patients, and the standard deviation (sd) between draws."
    )
    ones = _baseline(results, "dice_positive_ones_baseline")
    parts = []
    for metric, caption in (
        ("dice_positive", f"Marking every pixel scores {number(ones, 4)}."),
        ("dice_all", ""),
        ("dice_pooled", ""),
    ):
        shown = (
            _table_of_all_images(results, how)
            if metric == "dice_all"
            else table_by_fraction(results, metric, f"{TITLES[metric]}: {how} {caption}")
        )
        plot = [plots[metric].inline(_MARKS)] if metric in plots else []
        parts.append(tag("div", shown, *plot, class_="pair"))
    specificity = table_by_fraction(results, "empty_specificity", f"{_SPECIFICITY}: {how}")
    conventions = details(
        "The same over all pixels, and images without a mask", parts[2], specificity
    )
    return Section("findings", "Findings", join(parts[0], parts[1], conventions))


_MARKS = (
    "Marks: mean over draws, with the 95 % interval over test patients. Small dots: single draws. "
    "Marks are shifted sideways so that they do not hide each other."
)


def _table_of_all_images(results: Results, how: str) -> Markup:
    """As MGCA and GLoRIA count; scores that an empty prediction beats are marked."""
    names, fractions = series_names(results), results["options"]["fraction"]
    empty, ones = (_baseline(results, f"dice_all_{name}_baseline") for name in ("empty", "ones"))
    rows: list[list[object]] = []
    for series in series_of(results):
        cells = []
        for fraction in fractions:
            row = find(results, series, fraction, "dice_all")
            is_below = row is not None and row["value"] < empty
            mark = tag("small", "below all-empty") if is_below else ""
            cells.append(join(cell(results, series, fraction, "dice_all", spread=True), mark))
        rows.append([key_of(series.name, names), *cells])
    for name, value in (("predicting nothing", empty), ("marking every pixel", ones)):
        rows.append([name, *[number(value, 4)] * len(fractions)])
    caption = f"{TITLES['dice_all']} (empty prediction of an empty mask: 1): {how}"
    return table(caption, ["encoder", *map(percent, fractions)], rows)


def _views(results: Results) -> Section | None:
    groups = results["views"]["groups"]
    if not groups:
        return None
    names = series_names(results)
    header: list[object] = ["encoder"]
    for group in groups:
        share = 100 * group["positive"] / group["n_test"] if group["n_test"] else 0
        sizes = f"{group['n_test']:,} images, {share:.1f}\N{NO-BREAK SPACE}% with a mask"
        header.append(join(group["view"], tag("small", sizes)))
    tables = []
    for metric in ("dice_positive", "dice_all"):
        by_place = {
            (row["encoder"], row["view"]): row
            for row in results["views"]["within"]
            if row["metric"] == metric
        }
        rows = [
            [
                key_of(series.name, names),
                *[_view_cell(by_place.get((series.encoder, g["view"]))) for g in groups],
            ]
            for series in series_of(results)
        ]
        tables.append(table(f"{TITLES[metric]}, by view.", header, rows))
    fraction = max(results["options"]["fraction"])
    text = paragraph(
        "Where masks are more frequent in one view, a network that tells the view apart knows "
        f"where to mark nothing. At {percent(fraction)} of the labels, first draw."
    )
    return Section("views", "By view", join(text, tag("div", *tables, class_="pair")))


def _view_cell(row: Results | None) -> Markup:
    if row is None:
        return Markup(MISSING)
    return estimate(row["value"], row["ci_low"], row["ci_high"])


def _examples(pictures: list[Picture]) -> Section | None:
    if not pictures:
        return None
    text = paragraph("Blue: outline of the true mask. Orange: outline of the prediction.")
    return Section("examples", "Example studies", join(text, gallery(pictures)))


def _data(results: Results) -> Section:
    data = results["data"]
    counted = [
        [split, f"{data['studies'][split]:,}", *[f"{n:,}" for n in counts.values()]]
        for split, counts in data["foreground"].items()
    ]
    caption = f"Foreground: {data['finding']} ({', '.join(data['lesions'])})."
    header = ["split", "images", "with a mask", "without", "unknown"]
    notes = results["notes"]
    left_out: object = bullets(notes) if notes else paragraph("Nothing was left out.")
    body = join(table(caption, header, counted), tag("h3", "Left out, and other remarks"), left_out)
    return Section("data", "Images and masks", body)


def _baseline(results: Results, metric: str) -> float:
    return float(next(r["value"] for r in results["rows"] if r["metric"] == metric))
