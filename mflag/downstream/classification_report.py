"""The report of linear probes, built from ``results.json`` alone (and example images)."""

from collections.abc import Mapping
from typing import Any

from mflag.downstream.examples import Example
from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.page import Section, bullets, definitions, details, paragraph, render_page
from mflag.reporting.plots import (
    Plot,
    dots_plot,
    estimates_plot,
    key_of,
    lines_plot,
)
from mflag.reporting.tables import MISSING, estimate, number, percent, span, table

Results = dict[str, Any]
_TITLES = {"macro_auc": "Macro AUC", "unmentioned_r2": "Mean R² of unmentioned attributes"}


def build_plots(results: Results) -> dict[str, Plot]:
    """Draw what the results hold, by name."""
    plots = {}
    for metric, title in _TITLES.items():
        series = _series(results, metric)
        if series:
            words = {"x": "labelled studies (log scale)", "y": title}
            plots[metric] = estimates_plot(metric, f"{title} by number of labels", series, words)
    groups = [n for n in results["data"]["attributes"] if _has(results, f"unmentioned_r2/{n}")]
    if groups:
        fraction = _middle(results, "unmentioned_r2")
        points = {
            name: [_point(results, name, fraction, f"unmentioned_r2/{g}") for g in groups]
            for name in _names(results)
        }
        title = f"R² of each unmentioned attribute at {percent(fraction)} of the labels"
        plots["attributes"] = dots_plot("attributes", title, groups, points, "R² on test")
    spectra = {name: results["geometry"][name]["spectrum"] for name in _names(results)}
    words = {"x": "direction, from the strongest", "y": "share of the variance"}
    plots["spectrum"] = lines_plot("spectrum", "Variance by latent direction", spectra, words)
    return plots


def build_report(results: Results, plots: Mapping[str, Plot], examples: list[Example]) -> str:
    """Return ``report.html``.

    Args:
        results: the content of ``results.json``.
        plots: of ``build_plots``.
        examples: studies to show; none for real data unless the user asked.
    """
    sections = [
        _findings(results, plots),
        _differences(results),
        _classes(results),
        _unmentioned(results, plots),
        _geometry(results, plots),
        _data(results),
        _examples(examples),
        _method(results),
        _provenance(results),
    ]
    dataset = results["data"]["dataset"]
    where = "generated studies" if dataset == "phantom" else dataset
    kept = [section for section in sections if section is not None]
    return render_page(f"Frozen encoders on {where}", _lead(results), kept)


def _lead(results: Results) -> Markup:
    """One sentence a fraction: the first encoder beside the random one."""
    data, first = results["data"], _names(results)[0]
    sizes = data["studies"]
    lines: list[object] = []
    for row in results["differences"]:
        if (row["encoder"], row["minus"], row["metric"]) != (first, "random", "macro_auc"):
            continue
        own = _find(results, first, row["fraction"], "macro_auc")
        lines.append(
            join(
                f"With {percent(row['fraction'])} of the labels ({own['n_train']:,} studies), ",
                tag("strong", f"{first} reaches a macro AUC of {number(own['value'])}"),
                f"; random weights reach {number(own['value'] - row['value'])}. Difference "
                f"{number(row['value'], sign=True)}, 95 % interval "
                f"{span(row['ci_low'], row['ci_high'], sign=True)}.",
            )
        )
    about = (
        f"Linear probes of {len(data['labels'])} labels on frozen features: {sizes['train']:,} "
        f"training, {sizes['valid']:,} validation and {sizes['test']:,} test studies."
    )
    return join(paragraph(about, class_="lead"), bullets(lines) if lines else "")


def _findings(results: Results, plots: Mapping[str, Plot]) -> Section:
    seeds = results["options"]["seeds"]
    caption = (
        f"Macro AUC on test: mean over label draws ({seeds} below 100 %, one at 100 %). Below it "
        "the 95 % interval over test patients, and the standard deviation (sd) between draws."
    )
    parts = [_by_fraction(results, "macro_auc", caption)]
    if "macro_auc" in plots:
        parts.append(
            plots["macro_auc"].inline(
                "Marks: mean over draws, with the 95 % interval over test patients. Small dots: "
                "single draws. Marks are shifted sideways so that they do not hide each other."
            )
        )
    return Section("findings", "Findings", tag("div", *parts, class_="pair"))


def _differences(results: Results) -> Section | None:
    found: dict[str, dict[tuple[str, str], dict[float, Any]]] = {}
    for row in results["differences"]:
        pairs = found.setdefault(row["metric"], {})
        pairs.setdefault((row["encoder"], row["minus"]), {})[row["fraction"]] = row
    if not found:
        return None
    names, fractions = _names(results), results["options"]["fraction"]
    tables = []
    for metric, pairs in found.items():
        rows = [
            [
                join(key_of(pair[0], names), tag("small", f"minus {pair[1]}")),
                *[_difference_cell(by_fraction.get(f)) for f in fractions],
            ]
            for pair, by_fraction in pairs.items()
        ]
        tables.append(table(_TITLES[metric], ["encoders", *map(percent, fractions)], rows))
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


def _classes(results: Results) -> Section:
    names, tables = _names(results), []
    fractions = results["options"]["fraction"]
    for fraction in fractions:
        rows = [
            [label, *[_cell(results, name, fraction, f"auc/{label}") for name in names]]
            for label in results["data"]["labels"]
        ]
        caption = f"AUC of each label at {percent(fraction)} of the labels, mean over draws."
        header = ["label", *[key_of(name, names) for name in names]]
        tables.append((fraction, table(caption, header, rows)))
    shown = tables[-1][1]
    folded = [details(f"At {percent(f)} of the labels", part) for f, part in tables[:-1]]
    missing = paragraph(
        f"{MISSING} means left out: no positive or no negative in the drawn labels or on test.",
        class_="quiet",
    )
    return Section("labels", "Each label", join(shown, *folded, missing))


def _unmentioned(results: Results, plots: Mapping[str, Plot]) -> Section | None:
    if not _has(results, "unmentioned_r2"):
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
    scores = _by_fraction(results, "unmentioned_r2", "R² on test, mean over attributes.")
    body = join(text, scores, tag("div", *[tag("div", d) for d in drawn], class_="pair"))
    return Section("unmentioned", "What no report mentions", body)


def _geometry(results: Results, plots: Mapping[str, Plot]) -> Section:
    names = _names(results)
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
        f"Features of {n:,} test studies; no rank can exceed that number. RankMe is un-centred, "
        "the others are centred. Top direction: its share of the variance. Dead: constant features."
    )
    plot = plots["spectrum"].inline(
        "Eigenvalues of the covariance of the test features over their sum. A slow decline means "
        "that many directions are in use."
    )
    return Section("geometry", "Latent geometry", join(table(caption, header, rows), plot))


def _data(results: Results) -> Section:
    data = results["data"]
    splits = ("train", "valid", "test")
    rows = []
    for label, counts in data["labels"].items():
        cells = [
            join(
                f"{counts[s]['positive']:,}\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}"
                f"{counts[s]['negative']:,}",
                tag("small", f"{counts[s]['unknown']:,} unknown") if counts[s]["unknown"] else "",
            )
            for s in splits
        ]
        rows.append([label, *cells])
    header = ["label", *[join(s, tag("small", f"{data['studies'][s]:,} studies")) for s in splits]]
    counted = table("Positives / negatives of each label.", header, rows)
    notes = results["notes"]
    left_out: object = bullets(notes) if notes else paragraph("Nothing was left out.")
    body = join(counted, tag("h3", "Left out, and other remarks"), left_out)
    return Section("data", "Studies and labels", body)


def _examples(examples: list[Example]) -> Section | None:
    if not examples:
        return None
    figures = []
    for k, example in enumerate(examples, 1):
        image = (
            f'<img alt="example study {k}" width="256" height="256" '
            f'src="data:image/png;base64,{example.png}">'
        )
        found = ", ".join(example.findings) or "no finding"
        caption = tag("figcaption", tag("strong", found), tag("div", example.text))
        figures.append(tag("figure", Markup(image), caption))
    return Section("examples", "Example studies", tag("div", *figures, class_="gallery"))


def _method(results: Results) -> Section:
    options, data = results["options"], results["data"]
    grid = ", ".join(f"{c:g}" for c in options["inverse_penalties"])
    pairs: list[tuple[object, object]] = [
        (
            "Features",
            "Global average pool, eval mode, float32, no projector, no augmentation. Images are "
            "resized to the encoder's own size and normalised as its file says.",
        ),
        (
            "Probe",
            "Features are standardised on the labelled rows. One L2 logistic regression a label "
            f"(scikit-learn, lbfgs); one C out of {grid} for all labels, chosen by macro AUC on "
            "valid. Test is looked at once.",
        ),
        (
            "Label draws",
            "Rows of the train split, drawn with seeds 0, 1, …, the same rows for every encoder. A "
            "smaller fraction is a part of the larger one of the same seed. At 100 % nothing is "
            "drawn, so there is one seed.",
        ),
        (
            "Macro AUC",
            "Mean of the one-vs-rest AUC over labels, each over all test studies at once "
            "(torchmetrics). Labels without positives or negatives are left out, by name. Unknown "
            "and uncertain labels are masked.",
        ),
        (
            "Intervals",
            f"Bootstrap over the {data['test_patients']:,} test patients, "
            f"{options['resamples']:,} resamples, 2.5 and 97.5 % quantiles; all studies of a "
            "patient are drawn together, and the same resamples serve every encoder. They do not "
            "cover training the encoder again.",
        ),
    ]
    return Section("method", "How it was measured", definitions(pairs))


def _provenance(results: Results) -> Section:
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


def _by_fraction(results: Results, metric: str, caption: str) -> Markup:
    """A row an encoder, a column a fraction."""
    names, fractions = _names(results), results["options"]["fraction"]
    header: list[object] = ["encoder"]
    for fraction in fractions:
        sizes = [r["n_train"] for r in results["rows"] if r["fraction"] == fraction]
        count = f"{sizes[0]:,} labelled" if sizes else MISSING
        header.append(join(percent(fraction), tag("small", count)))
    rows = [
        [key_of(name, names), *[_cell(results, name, f, metric, spread=True) for f in fractions]]
        for name in names
    ]
    return table(caption, header, rows)


def _series(results: Results, metric: str) -> dict[str, list[dict[str, Any]]]:
    series: dict[str, list[dict[str, Any]]] = {}
    for row in results["summary"]:
        if row["metric"] == metric:
            key = (row["encoder"], row["fraction"], metric)
            draws = [
                r["value"]
                for r in results["rows"]
                if (r["encoder"], r["fraction"], r["metric"]) == key
            ]
            point = row | {"x": row["n_train"], "draws": draws if len(draws) > 1 else []}
            series.setdefault(row["encoder"], []).append(point)
    return series


def _cell(
    results: Results, name: str, fraction: float, metric: str, spread: bool = False
) -> Markup:
    row = _find(results, name, fraction, metric)
    if row is None:
        return Markup(MISSING)
    extra = f"sd {number(row['sd'])}" if spread and row["sd"] is not None else ""
    return estimate(row["value"], row["ci_low"], row["ci_high"], extra)


def _find(results: Results, name: str, fraction: float, metric: str) -> Any:
    key = (name, fraction, metric)
    rows = results["summary"]
    return next((r for r in rows if (r["encoder"], r["fraction"], r["metric"]) == key), None)


def _point(results: Results, name: str, fraction: float, metric: str) -> Any:
    row = _find(results, name, fraction, metric)
    return None if row is None else (row["value"], row["ci_low"], row["ci_high"])


def _has(results: Results, metric: str) -> bool:
    return any(row["metric"] == metric for row in results["summary"])


def _middle(results: Results, metric: str) -> float:
    fractions = sorted({r["fraction"] for r in results["summary"] if r["metric"] == metric})
    return fractions[(len(fractions) - 1) // 2]


def _names(results: Results) -> list[str]:
    return [encoder["name"] for encoder in results["encoders"]]
