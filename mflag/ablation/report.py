"""An ablation as tables and plots: for a page, and in Markdown."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mflag.ablation.statistics import KEY
from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.page import Section, bullets, details, paragraph
from mflag.reporting.plots import Plot, dots_plot
from mflag.reporting.tables import MISSING, number, percent, span, table

Results = dict[str, Any]
Group = tuple[str, str, str]  # task, protocol, metric
_TITLES = {
    "macro_auc": "Macro AUC",
    "unmentioned_r2": "R² of what no report mentions",
    "dice_all": "Dice, all images",
    "dice_positive": "Dice, images with a lesion",
    "map_mgca": "mAP, images without boxes dropped",
    "map_full": "mAP, all images",
    "rankme": "Effective rank of the test features (RankMe)",
    "effective_rank_centred": "Effective rank of the centred test features",
}
_PROTOCOLS = {"linear": "linear probe", "finetune": "fine-tuned"}


def build_plots(results: Results) -> dict[str, Plot]:
    """Draw a row a variant and a colour a fraction, for each score; by name."""
    plots = {}
    names = variant_names(results)
    for group in groups(results):
        task, protocol, metric = group
        series = {
            _share(fraction): [
                None if row is None else (row["value"], row["ci_low"], row["ci_high"])
                for row in (_find(results["summary"], name, group, fraction) for name in names)
            ]
            for fraction in fractions(results, group)
        }
        name = f"ablation-{task}-{protocol}-{metric}"
        plots[name] = dots_plot(name, title(group), names, series, title(group))
    return plots


def sections(results: Results, plots: Mapping[str, Plot]) -> list[Section]:
    """Return the parts of a page: scores by variant, what the variants are, how it was measured.

    Args:
        results: content of ``ablation.json``.
        plots: of ``build_plots``; one that is not there is left out.
    """
    parts = [
        Section(f"ablation-{'-'.join(group)}", title(group), _scores(results, plots, group))
        for group in groups(results)
    ]
    return [*parts, _variants_section(results), _method_section(results)]


def lead(results: Results) -> Markup:
    """Return what a hurried reader must see first."""
    seeds = sorted({row["n"] for row in results["summary"]})
    count = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"
    incomplete = [f"{f['variant']} seed {f['seed']}: {f['reason']}" for f in results["failures"]]
    text = (
        f"{len(results['variants'])} variants, {count} training seeds each; differences are to "
        f"{results['reference']}."
    )
    warning = [paragraph("Not all runs came to their end:"), bullets([*incomplete])]
    return join(paragraph(text, class_="lead"), *warning * bool(incomplete))


def markdown(results: Results) -> str:
    """Return the tables of all scores in Markdown."""
    lines = [f"`{results['command']}`, {results['machine']}", "", results["interval"], ""]
    for group in groups(results):
        lines += [f"## {title(group)}", "", *markdown_table(results, group), ""]
    lines += [
        f"Failed: {f['variant']} seed {f['seed']}: {f['reason']}" for f in results["failures"]
    ]
    return "\n".join(lines).rstrip() + "\n"


def markdown_table(results: Results, group: Group) -> list[str]:
    """Return a row a variant; for each fraction the score and its difference to the reference."""
    shares = fractions(results, group)
    header = ["variant", "seeds"]
    for fraction in shares:
        header += [_share(fraction), f"minus {results['reference']}"]
    rows = [
        [str(value) for value in row] for row in _cells(results, group, _plain_score, _plain_change)
    ]
    divider = ["---"] * len(header)
    return [f"| {' | '.join(cells)} |" for cells in (header, divider, *rows)]


def variant_names(results: Results) -> list[str]:
    """Return the variants that have scores, in order."""
    scored = {row["variant"] for row in results["summary"]}
    return [variant["name"] for variant in results["variants"] if variant["name"] in scored]


def groups(results: Results) -> list[Group]:
    """Return (task, protocol, metric) of all scores, in the order of the rows."""
    found = ((row["task"], row["protocol"], row["metric"]) for row in results["summary"])
    return list(dict.fromkeys(found))


def fractions(results: Results, group: Group) -> list[float | None]:
    """Return the shares of labels at which a score was taken; [None] where none are read."""
    found = {
        row["fraction"]
        for row in results["summary"]
        if (row["task"], row["protocol"], row["metric"]) == group
    }
    return sorted(found, key=lambda fraction: -1.0 if fraction is None else fraction)


def title(group: Group) -> str:
    """Return a score in words."""
    task, protocol, metric = group
    name = _TITLES.get(metric, metric)
    return name if task == "geometry" else f"{name}, {_PROTOCOLS.get(protocol, protocol)}"


def _scores(results: Results, plots: Mapping[str, Plot], group: Group) -> Markup:
    shares = fractions(results, group)
    header: list[object] = ["variant", "seeds"]
    for fraction in shares:
        header += [_share(fraction), tag("small", f"minus {results['reference']}")]
    rows = list(_cells(results, group, _score, _change))
    caption = "Mean over training seeds with its 95 % interval; differences paired by seed."
    plot = plots.get(f"ablation-{'-'.join(group)}")
    figure = [plot.inline("Mean over training seeds, 95 % interval.")] if plot else []
    return join(table(caption, header, rows), *figure)


def _cells(
    results: Results,
    group: Group,
    score: Callable[[Any], object],
    change: Callable[[Any], object],
) -> Iterator[list[object]]:
    for name in variant_names(results):
        cells: list[object] = []
        seeds = 0
        for fraction in fractions(results, group):
            row = _find(results["summary"], name, group, fraction)
            seeds = max(seeds, row["n"] if row else 0)
            cells += [score(row), change(_find(results["differences"], name, group, fraction))]
        if seeds:
            yield [name, seeds, *cells]


def _find(rows: list[Results], variant: str, group: Group, fraction: float | None) -> Any:
    task, protocol, metric = group
    key = (variant, task, protocol, fraction, metric)
    return next((r for r in rows if (r["variant"], *(r[k] for k in KEY)) == key), None)


def _score(row: Any) -> object:
    if row is None:
        return MISSING
    interval = span(row["ci_low"], row["ci_high"])
    return join(tag("span", _number(row["value"])), tag("small", interval))


def _change(row: Any) -> object:
    if row is None:
        return MISSING
    interval = span(row["ci_low"], row["ci_high"], sign=True)
    return join(tag("span", number(row["value"], sign=True)), tag("small", interval))


def _plain_score(row: Any) -> str:
    if row is None:
        return MISSING
    interval = "" if row["ci_low"] is None else f" ({span(row['ci_low'], row['ci_high'])})"
    return _number(row["value"]) + interval.replace("\N{WORD JOINER}", "")


def _plain_change(row: Any) -> str:
    if row is None:
        return MISSING
    has_interval = row["ci_low"] is not None
    interval = f" ({span(row['ci_low'], row['ci_high'], sign=True)})" if has_interval else ""
    return number(row["value"], sign=True) + interval


def _number(value: float) -> str:
    return number(value, 1 if abs(value) >= 10 else 3)


def _share(fraction: float | None) -> str:
    return "no labels" if fraction is None else f"{percent(fraction)} of the labels"


def _variants_section(results: Results) -> Section:
    keys = list(dict.fromkeys(key for v in results["variants"] for key in v["settings"]))
    rows = [
        [
            v["name"],
            ", ".join(map(str, v["seeds"])) or MISSING,
            v["hash"],
            *["random weights" if not v["is_trained"] and k == 0 else _value(v, key)
              for k, key in enumerate(keys)],
        ]
        for v in results["variants"]
    ]  # fmt: skip
    caption = "What sets the variants apart, from the config.yaml of their runs."
    return Section(
        "ablation-variants",
        "The variants",
        table(caption, ["variant", "seeds", "hash of the settings", *keys], rows),
    )


def _value(variant: Results, key: str) -> str:
    value = variant["settings"].get(key)
    return MISSING if value is None or not variant["is_trained"] else str(value)


def _method_section(results: Results) -> Section:
    command = tag("pre", tag("code", results["command"]))
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    missing = [details("Runs without results", bullets(results["missing"]))]
    body = join(
        paragraph(results["interval"]),
        *missing * bool(results["missing"]),
        command,
        paragraph(versions),
        paragraph(results["machine"]),
    )
    return Section("ablation-method", "How the variants were compared", body)
