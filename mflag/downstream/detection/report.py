"""The report of a detection, built from ``results.json`` alone (and pictures)."""

from collections.abc import Mapping
from typing import Any

from mflag.downstream.detection.matching import IOU_THRESHOLDS
from mflag.downstream.detection.method import method_section
from mflag.downstream.detection.pictures import HIT_IOU, SHOWN_SCORE
from mflag.downstream.report_lookup import (
    Results,
    Series,
    cell,
    find,
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
from mflag.reporting.plots import Plot, dots_plot, estimates_plot, key_of
from mflag.reporting.tables import MISSING, number, percent, span, table

_TITLES = {"map_full": "mAP, every image", "map_mgca": "mAP, mgca"}


def build_plots(results: Results) -> dict[str, Plot]:
    """Draw what the results hold, by name."""
    plots = {}
    for metric, title in _TITLES.items():
        series = points(results, metric)
        if series:
            words = {"x": "labelled images (log scale)", "y": title}
            plots[metric] = estimates_plot(metric, f"{title}, by number of labels", series, words)
    fractions = _scored_fractions(results)
    if fractions:
        groups = [f"IoU {threshold:.2f}" for threshold in IOU_THRESHOLDS]
        dots = {
            series.name: [
                point(results, series, fractions[-1], f"map_full/{t:.2f}") for t in IOU_THRESHOLDS
            ]
            for series in series_of(results)
        }
        title = f"AP of every image by IoU at {percent(fractions[-1])} of the labels"
        plots["ap_by_iou"] = dots_plot("ap_by_iou", title, groups, dots, "average precision")
    return plots


def lead(results: Results) -> Markup:
    """One sentence a fraction: the first encoder beside the random one."""
    data = results["data"]
    lines: list[object] = []
    first = series_of(results)[0]
    for row in results["differences"]:
        wanted = (first.encoder, "random", "map_full")
        if tuple(row[n] for n in ("encoder", "minus", "metric")) != wanted:
            continue
        own = find(results, first, row["fraction"], "map_full")
        lines.append(
            join(
                f"With {percent(row['fraction'])} of the labels ({own['n_train']:,} images), ",
                tag("strong", f"{first.encoder} reaches an mAP of {number(own['value'])}"),
                " over every test image; random weights reach "
                f"{number(own['value'] - row['value'])}. Difference "
                f"{number(row['value'], sign=True)}, 95 % interval "
                f"{span(row['ci_low'], row['ci_high'], sign=True)}.",
            )
        )  # fmt: skip
    test = data["boxes"]["test"]
    about = (
        f"Boxes around {_what(results)}, by a detector on the frozen encoder: {test['images']:,} "
        f"test images, {test['positive']:,} of them with {test['boxes']:,} boxes."
    )
    trivial = paragraph(*remarks(results), class_="quiet")
    return join(paragraph(about, class_="lead"), trivial, bullets(lines) if lines else "")


def remarks(results: Results) -> list[str]:
    """Lines for the terminal beside the scores."""
    mean_box = next(b for b in results["baselines"] if b["name"] == "mean box")
    return [
        "Without a look at the image: no prediction scores 0; the mean training box in every image "
        f"scores map_full {number(mean_box['map_full'])}, map_mgca {number(mean_box['map_mgca'])}."
    ]


def sections(results: Results, plots: Mapping[str, Plot], pictures: list[Picture]) -> list[Section]:
    """Return the parts of the report.

    Args:
        results: the content of ``results.json``.
        plots: of ``build_plots``.
        pictures: test images with boxes; none for real data unless the user asked.
    """
    found = [
        _scores(results, plots),
        differences_section(results, _TITLES),
        _by_iou(results, plots),
        _data(results),
        _examples(pictures),
        method_section(results),
        provenance_section(results),
    ]
    return [section for section in found if section is not None]


def _scores(results: Results, plots: Mapping[str, Plot]) -> Section:
    seeds = results["options"]["seeds"]
    drawn = f"mean over label draws ({seeds} below 100 %, one at 100 %)"
    captions = {
        "map_full": f"mAP at IoU 0.40 to 0.75 over every test image: {drawn}. Below it the 95 % "
        "interval over test patients, and the standard deviation (sd) between draws.",
        "map_mgca": "mAP as published with MGCA: images without a true box or without a "
        "prediction of 0.5 or more are left out, so neither false alarms on healthy images nor "
        "complete misses count. Encoders are scored on different images.",
    }
    parts: list[object] = []
    for metric, caption in captions.items():
        pair = [table_by_fraction(results, metric, caption)]
        if metric in plots:
            pair.append(plots[metric].inline("Mean over draws, 95 % interval; dots: draws."))
        parts += [tag("h3", _TITLES[metric]), tag("div", *pair, class_="pair")]
    return Section("detection", "Detection", join(*parts, _kept(results), _baselines(results)))


def _kept(results: Results) -> Markup:
    """How many test images ``mgca`` looked at."""
    names, fractions = series_names(results), _scored_fractions(results)
    rows = [
        [key_of(series.name, names), *[_mean_kept(results, series, f) for f in fractions]]
        for series in series_of(results)
    ]
    total = results["data"]["boxes"]["test"]["images"]
    caption = f"Images that mgca kept, of {total:,} on test; mean over draws."
    return table(caption, ["encoder", *map(percent, fractions)], rows)


def _mean_kept(results: Results, series: Series, fraction: float) -> str:
    kept = [
        d["n_kept"]
        for d in results["detectors"]
        if (d["encoder"], d["fraction"]) == (series.encoder, fraction)
    ]
    return f"{sum(kept) / len(kept):,.1f}" if kept else MISSING


def _baselines(results: Results) -> Markup:
    rows = [
        [b["name"], number(b["map_full"]), number(b["map_mgca"]), b["n_kept"]]
        for b in results["baselines"]
    ]
    caption = (
        "Predictors that do not look at the image. Mean box: the mean of all training boxes, with "
        "the share of training images that have a box as its score."
    )
    return table(caption, ["predictor", "mAP, every image", "mAP, mgca", "kept by mgca"], rows)


def _by_iou(results: Results, plots: Mapping[str, Plot]) -> Section | None:
    names, fractions = series_names(results), _scored_fractions(results)
    if not fractions:
        return None
    tables = []
    for fraction in fractions:
        chosen = [s for s in series_of(results) if find(results, s, fraction, "map_full")]
        rows = [
            [f"{t:.2f}", *[cell(results, s, fraction, f"map_full/{t:.2f}") for s in chosen]]
            for t in IOU_THRESHOLDS
        ]
        caption = f"AP over every image at {percent(fraction)} of the labels, mean over draws."
        header: list[object] = ["IoU", *[key_of(s.name, names) for s in chosen]]
        tables.append((fraction, table(caption, header, rows)))
    folded = [details(f"At {percent(f)} of the labels", part) for f, part in tables[:-1]]
    plot = plots["ap_by_iou"].inline("Mean over draws, with the 95 % interval over test patients.")
    body = join(tag("div", tables[-1][1], plot, class_="pair"), *folded)
    return Section("iou", "By overlap", body)


def _data(results: Results) -> Section:
    data = results["data"]
    rows = [
        [split, *[f"{c[key]:,}" for key in ("images", "positive", "boxes", "unknown")]]
        for split, c in data["boxes"].items()
    ]
    header: list[object] = ["split", "images", "with a box", "boxes", "labelled, no box"]
    counted = table(f"Boxes around {_what(results)}.", header, rows)
    notes = results["notes"]
    left_out: object = bullets(notes) if notes else paragraph("Nothing was left out.")
    body = join(counted, tag("h3", "Left out, and other remarks"), left_out)
    return Section("data", "Images and boxes", body)


def _examples(pictures: list[Picture]) -> Section | None:
    if not pictures:
        return None
    text = paragraph(
        "Green: true boxes. Orange: predictions with a score of "
        f"{SHOWN_SCORE:g} or more, of the detector with the most labels (first draw). A hit has an "
        f"IoU of {HIT_IOU:g} or more."
    )
    return Section("examples", "Example images", join(text, gallery(pictures)))


def _what(results: Results) -> str:
    data: dict[str, Any] = results["data"]
    return f"{data['finding']} as one class ({', '.join(data['lesions'])})"


def _scored_fractions(results: Results) -> list[float]:
    return sorted({row["fraction"] for row in results["summary"] if row["metric"] == "map_full"})
