"""The report of a classification, built from ``results.json`` alone (and pictures)."""

from collections.abc import Mapping

from mflag.data.label_policy import POLICIES
from mflag.downstream.classification.method import method_section
from mflag.downstream.classification.shortcuts_report import shortcuts_section
from mflag.downstream.report_lookup import (
    PROTOCOL_NAMES,
    Results,
    Series,
    cell,
    encoder_names,
    find,
    has,
    middle_fraction,
    point,
    points,
    series_names,
    series_of,
    table_by_fraction,
)
from mflag.downstream.report_sections import differences_section, provenance_section
from mflag.reporting.gallery import Picture, gallery
from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.page import Section, bullets, details, paragraph
from mflag.reporting.plots import (
    Plot,
    dots_plot,
    estimates_plot,
    key_of,
    lines_plot,
)
from mflag.reporting.tables import MISSING, number, percent, span, table

_PROTOCOLS = {
    "linear": "linear probes of frozen features",
    "finetune": "fine-tuning of all layers",
}
_TITLES = {"macro_auc": "Macro AUC", "unmentioned_r2": "Mean R² of unmentioned attributes"}


def build_plots(results: Results) -> dict[str, Plot]:
    """Draw what the results hold, by name."""
    plots = {}
    for metric, title in _TITLES.items():
        series = points(results, metric)
        if series:
            words = {"x": "labelled images (log scale)", "y": title}
            plots[metric] = estimates_plot(metric, f"{title} by number of labels", series, words)
    groups = [n for n in results["data"]["attributes"] if has(results, f"unmentioned_r2/{n}")]
    if groups:
        fraction = middle_fraction(results, "unmentioned_r2")
        dots = {
            series.name: [point(results, series, fraction, f"unmentioned_r2/{g}") for g in groups]
            for series in series_of(results, "linear")
        }
        title = f"R² of each unmentioned attribute at {percent(fraction)} of the labels"
        plots["attributes"] = dots_plot("attributes", title, groups, dots, "R² on test")
    spectra = {name: results["geometry"][name]["spectrum"] for name in encoder_names(results)}
    words = {"x": "direction, from the strongest", "y": "share of the variance"}
    plots["spectrum"] = lines_plot("spectrum", "Variance by latent direction", spectra, words)
    return plots


def sections(results: Results, plots: Mapping[str, Plot], pictures: list[Picture]) -> list[Section]:
    """Return the parts of the report.

    Args:
        results: the content of ``results.json``.
        plots: of ``build_plots``.
        pictures: example studies; none for real data unless the user asked.
    """
    found = [
        _findings(results, plots),
        differences_section(results, _TITLES),
        _classes(results),
        shortcuts_section(results),
        _unmentioned(results, plots),
        _geometry(results, plots),
        _data(results),
        Section("examples", "Example studies", gallery(pictures)) if pictures else None,
        method_section(results),
        provenance_section(results),
    ]
    return [section for section in found if section is not None]


def remarks(results: Results) -> list[str]:
    """Lines for the terminal beside the scores."""
    policy = results["options"]["label_policy"]
    shortcuts = [f"shortcut: {sentence}" for sentence in results["shortcuts"]["sentences"]]
    return [f"label policy {policy}: {POLICIES[policy]}", *shortcuts]


def lead(results: Results) -> Markup:
    """One sentence a fraction and protocol: the first encoder beside the random one."""
    data, sizes = results["data"], results["data"]["studies"]
    lines: list[object] = []
    for protocol in results["options"]["protocol"]:
        first = series_of(results, protocol)[0]
        wanted = (first.encoder, "random", "macro_auc", protocol)
        for row in results["differences"]:
            if tuple(row[n] for n in ("encoder", "minus", "metric", "protocol")) != wanted:
                continue
            own = find(results, first, row["fraction"], "macro_auc")
            how = "" if protocol == "linear" else ", fine-tuned,"
            lines.append(
                join(
                    f"With {percent(row['fraction'])} of the labels ({own['n_train']:,} images), ",
                    tag("strong", f"{first.encoder}{how} reaches a macro AUC of "
                        f"{number(own['value'])}"),
                    f"; random weights reach {number(own['value'] - row['value'])}. Difference "
                    f"{number(row['value'], sign=True)}, 95 % interval "
                    f"{span(row['ci_low'], row['ci_high'], sign=True)}.",
                )
            )  # fmt: skip
    how = " and ".join(_PROTOCOLS[p] for p in results["options"]["protocol"])
    about = f"{how[0].upper()}{how[1:]}, {len(data['labels'])} labels: " + (
        f"{results['options']['folds']}-fold cross-validation of {sum(sizes.values()):,} images."
        if results["options"].get("folds")
        else f"{sizes['train']:,} training, {sizes['valid']:,} validation and {sizes['test']:,} "
        "test images."
    )
    policy = results["options"]["label_policy"]
    labels = paragraph(f"Label policy {policy}: {POLICIES[policy]}.", class_="quiet")
    return join(paragraph(about, class_="lead"), labels, bullets(lines) if lines else "")


def _findings(results: Results, plots: Mapping[str, Plot]) -> Section:
    seeds, folds = results["options"]["seeds"], results["options"].get("folds")
    caption = (
        f"Macro AUC on test: mean over label draws ({seeds} below 100 %, one at 100 %). Below it "
        "the 95 % interval over test patients, and the standard deviation (sd) between draws."
    )
    if folds:
        caption = (
            f"Macro AUC of all images by {folds}-fold cross-validation, mean over {seeds} "
            "partitions. Below it the 95 % interval over patients, and the standard deviation "
            "(sd) between partitions."
        )
    parts = [table_by_fraction(results, "macro_auc", caption)]
    if "macro_auc" in plots:
        parts.append(
            plots["macro_auc"].inline(
                "Marks: mean over draws, with the 95 % interval over test patients. Small dots: "
                "single draws. Marks are shifted sideways so that they do not hide each other."
            )
        )
    return Section("findings", "Findings", tag("div", *parts, class_="pair"))


def _classes(results: Results) -> Section:
    parts = []
    for protocol in results["options"]["protocol"]:
        title = PROTOCOL_NAMES[protocol].capitalize()
        parts += [tag("h3", title)] if len(results["options"]["protocol"]) > 1 else []
        parts += _class_tables(results, protocol)
    missing = paragraph(
        f"{MISSING} means left out: no positive or no negative in the drawn labels or on test. "
        "Labels used is the number in the macro AUC, of the first draw. An AUC below 0.3 hints at "
        "a label that means its opposite.",
        class_="quiet",
    )
    return Section("labels", "Each label", join(*parts, missing))


def _class_tables(results: Results, protocol: str) -> list[Markup]:
    """The table of the largest fraction, and the others folded."""
    names, tables = series_names(results), []
    chosen = series_of(results, protocol)
    for fraction in results["options"]["fraction"]:
        rows = [
            [label, *[cell(results, series, fraction, f"auc/{label}") for series in chosen]]
            for label in results["data"]["labels"]
        ]
        used = [_classes_used(results, series, fraction) for series in chosen]
        caption = f"AUC of each label at {percent(fraction)} of the labels, mean over draws."
        header = ["label", *[key_of(series.name, names) for series in chosen]]
        tables.append((fraction, table(caption, header, [*rows, ["labels used", *used]])))
    shown = tables[-1][1]
    return [shown, *[details(f"At {percent(f)} of the labels", part) for f, part in tables[:-1]]]


def _classes_used(results: Results, series: Series, fraction: float) -> str:
    key = (series.encoder, series.protocol, fraction, "macro_auc")
    names = ("encoder", "protocol", "fraction", "metric")
    rows = [r for r in results["rows"] if tuple(r[n] for n in names) == key]
    return str(rows[0]["n_classes_used"]) if rows else "0"


def _unmentioned(results: Results, plots: Mapping[str, Plot]) -> Section | None:
    if not has(results, "unmentioned_r2"):
        return None
    attributes = ", ".join(results["data"]["attributes"])
    text = paragraph(
        f"What no report mentions, but the image shows: {attributes}. Ridge regression on the same "
        "labelled studies; R² on test. High means that the features keep it, which other tasks may "
        "need; 0 is as good as the mean, below 0 is worse."
    )
    captions = {
        "unmentioned_r2": "Mean over attributes and draws, with the 95 % interval; dots: draws.",
        "attributes": "Mean over draws, with the 95 % interval over test patients.",
    }
    drawn = [
        join(tag("h3", plots[name].title), plots[name].inline(caption))
        for name, caption in captions.items()
        if name in plots
    ]
    scores = table_by_fraction(results, "unmentioned_r2", "R² on test, mean over attributes.")
    body = join(text, scores, tag("div", *[tag("div", d) for d in drawn], class_="pair"))
    return Section("unmentioned", "What no report mentions", body)


def _geometry(results: Results, plots: Mapping[str, Plot]) -> Section:
    names = encoder_names(results)
    rows = []
    for name in names:
        g = results["geometry"][name]
        rows.append(
            [
                key_of(name, names),
                f"{g['dimensions']:,}",
                number(g["rankme"], 1),
                number(g["effective_rank_centred"], 1),
                number(g["participation_ratio"], 1),
                percent(round(g["top_share"], 3)),
                g["dead"],
            ]
        )
    n = results["data"]["studies"]["test"]
    header = [
        "encoder", "dimensions", "RankMe", "effective rank", "participation ratio",
        "top direction", "dead",
    ]  # fmt: skip
    caption = (
        f"Frozen features of {n:,} test images; no rank can exceed that number. RankMe is "
        "un-centred, the others are centred. Top direction: its share of the variance. Dead: "
        "constant features."
    )
    plot = plots["spectrum"].inline(
        "Eigenvalues of the covariance of the test features over their sum. A slow decline means "
        "that many directions are in use."
    )
    return Section("geometry", "Latent geometry", join(table(caption, header, rows), plot))


def _data(results: Results) -> Section:
    data = results["data"]
    splits = ("train", "valid", "test")
    rows = [
        [label, *[_count_cell(counts[s]) for s in splits]]
        for label, counts in data["labels"].items()
    ]
    header = ["label", *[join(s, tag("small", f"{data['studies'][s]:,} images")) for s in splits]]
    policy = results["options"]["label_policy"]
    caption = (
        f"Positives / negatives of each label under the policy {policy}, and how many were "
        "uncertain (-1) or blank before it, where any were."
    )
    counted = table(caption, header, rows)
    notes = results["notes"]
    left_out: object = bullets(notes) if notes else paragraph("Nothing was left out.")
    body = join(counted, tag("h3", "Left out, and other remarks"), left_out)
    return Section("data", "Images and labels", body)


def _count_cell(counts: dict[str, int]) -> Markup:
    space = "\N{NO-BREAK SPACE}"
    known = f"{counts['positive']:,}{space}/{space}{counts['negative']:,}"
    words = {"unknown": "masked", "uncertain": "uncertain", "blank": "blank"}
    remarks = [f"{counts[k]:,} {word}" for k, word in words.items() if counts[k]]
    return join(known, *[tag("small", remark) for remark in remarks])
