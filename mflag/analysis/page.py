"""The page of an analysis, built from ``analysis.json`` and its plots."""

from collections.abc import Mapping
from typing import Any

from mflag.analysis import explorer
from mflag.analysis.plots import CURVES
from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.page import Section, bullets, definitions, paragraph, render_page
from mflag.reporting.plots import Plot, key_of
from mflag.reporting.tables import MISSING, number, percent, table

Results = dict[str, Any]


def build_page(results: Results, plots: Mapping[str, Plot]) -> str:
    """Return ``analysis.html``.

    Args:
        results: the content of ``analysis.json``.
        plots: of ``build_plots``.
    """
    dataset = results["data"]["dataset"]
    where = "generated studies" if dataset == "phantom" else dataset
    kept = [*sections(results, plots), method_section(results), provenance_section(results)]
    return render_page(f"Latents of {where}", lead(results), kept)


def sections(
    results: Results, plots: Mapping[str, Plot], interactive: bool = True
) -> list[Section]:
    """Return what an analysis found, for its own page or as a part of another.

    Args:
        results: the content of ``analysis.json``.
        plots: of ``build_plots``.
        interactive: with the parts that turn and answer, beside still pictures without a script.
    """
    found = [
        _ranks(results),
        _spread(results),
        _spectrum(results, plots, interactive),
        _components(results, plots, interactive),
    ]
    if results["trajectory"]["runs"]:
        found.append(_trajectory(results, plots))
    return found


def lead(results: Results) -> Markup:
    """Return what a hurried reader must see first."""
    data = results["data"]
    capped = f" of {data['available']:,}" if data["available"] > data["n"] else ""
    name = "all splits" if data["split"] == "all" else f"the {data['split']} split"
    first = results["rows"][0]
    sentence = join(
        f"The latents of {first['encoder']} use ",
        tag("strong", f"{number(first['rankme'], 1)} of {first['rank_cap']:,} directions"),
        f" (RankMe) on {data['n']:,}{capped} images of {name}.",
    )
    return join(paragraph(sentence, class_="lead"), bullets(results["notes"]))


def _keys(results: Results) -> list[Markup]:
    names = [row["encoder"] for row in results["rows"]]
    return [key_of(name, names) for name in names]


def _ranks(results: Results) -> Section:
    header = [
        "encoder", "dimensions", "RankMe", "effective rank", "participation ratio",
        "top 1", "top 3", "top 10",
    ]  # fmt: skip
    rows = [
        [
            key,
            join(f"{row['dimensions']:,}", tag("small", f"at most {row['rank_cap']:,}")),
            *[number(row[n], 1) for n in ("rankme", "effective_rank_centred")],
            number(row["participation_ratio"], 1),
            *[percent(round(row[f"top_{k}share"], 3)) for k in ("", "3_", "10_")],
        ]
        for key, row in zip(_keys(results), results["rows"], strict=True)
    ]
    caption = (
        "How many directions are in use. At most: min(n, N), which no rank can exceed. RankMe is "
        "un-centred, the others are centred. Top k: share of the variance that the k strongest "
        "directions hold."
    )
    return Section("ranks", "Ranks", table(caption, header, rows))


def _spread(results: Results) -> Section:
    header = [
        "encoder", "alignment", "uniformity", "std, min", "median", "max", "below 0.01", "dead",
        "correlation",
    ]  # fmt: skip
    rows = [
        [
            key,
            number(row["alignment"]),
            number(row["uniformity"]),
            *[number(row["dimension_std"][n], 2) for n in ("min", "median", "max")],
            percent(round(row["quiet_share"], 3)),
            row["dead"],
            number(row["offdiag_mean"]),
        ]
        for key, row in zip(_keys(results), results["rows"], strict=True)
    ]
    caption = (
        "How latents lie. Alignment: mean squared distance between an image's projection and its "
        "report, 0 to 4, lower is closer. Uniformity: 0 when all images fall on one point, toward "
        f"{number(-4, 0)} on a whole sphere. Std: of each dimension of unit rows, times √N. Dead: "
        "dimensions that never change. Correlation: mean absolute value between two dimensions."
    )
    return Section("spread", "Spread", table(caption, header, rows))


def _spectrum(results: Results, plots: Mapping[str, Plot], interactive: bool) -> Section:
    still = plots["singular_spectrum"].inline(
        "Singular values of the covariance, on a logarithmic axis; those below the rounding of "
        "float32 are left out."
    )
    text = paragraph(
        "A slow decay means that many directions carry variance; a sudden drop means that the "
        "dimensions beyond it have collapsed (Jing et al., 2022)."
    )
    moving = explorer.spectra(results) if interactive else None
    return _section("spectrum", "Singular spectrum", text, still, moving)


def _components(results: Results, plots: Mapping[str, Plot], interactive: bool) -> Section:
    shown = len(next(iter(results["points"]["coordinates"].values())))
    text = paragraph(
        f"{shown:,} images along the three directions of largest variance, as in Figures 1 and 2 "
        "of the paper, each encoder in its own directions. The three axes of a picture have one "
        "scale, so a collapsed latent looks like a line or a plane."
    )
    still = plots["pca"].inline("First three principal components.")
    moving = explorer.clouds(results) if interactive else None
    return _section("components", "Three components", text, still, moving)


def _section(
    anchor: str, title: str, text: Markup, still: Markup, moving: Markup | None
) -> Section:
    if moving is None:
        return Section(anchor, title, join(text, still))
    body = join(text, moving, tag("noscript", still))
    return Section(anchor, title, body, explorer.STYLE, explorer.SCRIPT)


def _trajectory(results: Results, plots: Mapping[str, Plot]) -> Section:
    drawn = [
        tag("div", tag("h3", title), plots[f"trajectory_{figure}"].inline(""))
        for figure, title in CURVES.items()
        if f"trajectory_{figure}" in plots
    ]
    text = paragraph(
        "What each run logged at its own batches: latents of training images, augmented, in "
        "training mode. Diamonds: encoders of kept checkpoints, measured on this page's images."
    )
    found = results["trajectory"]["checkpoints"]
    names = list(results["trajectory"]["runs"])
    rows = [
        [
            join(key_of(name, names), tag("small", f"step {p['step']:,}")),
            *[number(p[n], 1) for n in ("rankme", "effective_rank_centred")],
            number(p["participation_ratio"], 1),
            percent(round(p["top_share"], 3)),
            number(p["uniformity"]),
        ]
        for name, points in found.items()
        for p in points
    ]
    header = [
        "run", "RankMe", "effective rank", "participation ratio", "top direction", "uniformity",
    ]  # fmt: skip
    counted = [table("Kept checkpoints.", header, rows)] if rows else []
    body = join(text, tag("div", *drawn, class_="pair"), *counted)
    return Section("trajectory", "During training", body)


def method_section(results: Results) -> Section:
    """Return how latents were measured."""
    data = results["data"]
    limit = "no limit" if data["limit"] is None else f"at most {data['limit']:,}, drawn with seed 0"
    pairs: list[tuple[object, object]] = [
        (
            "Latents",
            "Global average pool, eval mode, float32, no projector, no augmentation; figures in "
            "float64. Every encoder sees the same images, resized to its own size.",
        ),
        ("Images", f"{data['n']:,} of {data['available']:,} ({data['split']}); {limit}."),
        (
            "Sources",
            "RankMe: Garrido et al. 2023. Effective rank: Roy and Vetterli 2007. Spectrum: Jing et "
            "al. 2022. Alignment and uniformity: Wang and Isola 2020.",
        ),
    ]
    return Section("method", "How it was measured", definitions(pairs))


def provenance_section(results: Results) -> Section:
    """Return encoders, command, versions, machine."""
    rows = [
        [row["encoder"], row["arch"], f"{row['image_size']} px", row["origin"],
         row["alignment_note"] or MISSING]
        for row in results["rows"]
    ]  # fmt: skip
    header = ["name", "architecture", "input", "weights", "without alignment"]
    versions = ", ".join(f"{name} {v}" for name, v in results["versions"].items())
    command = tag("pre", tag("code", results["command"]))
    body = join(
        table("Encoders.", header, rows, holds_words=True), tag("h3", "Command"), command,
        paragraph(versions), paragraph(results["machine"]),
    )  # fmt: skip
    return Section("provenance", "Where it comes from", body)
