"""Ablations on the page."""

from typing import Any

from mflag.ablation.report import build_plots, lead, sections
from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.page import Section, paragraph
from mflag.reporting.parts import nested, slug
from mflag.reporting.tables import MISSING, table
from mflag.summary.found import Found
from mflag.summary.paper_section import NO_SPREAD, figures, score_cell
from mflag.summary.paper_tables import COLUMNS, LOSSES, UNFROZEN, PaperTable

_FRACTION = 0.01  # of the paper's ablations


def ablation_section(found: Found, taken: set[str]) -> Section:
    """Return one ablation as a part of the page.

    Args:
        found: the ablation.
        taken: ids that are in use; grows.
    """
    results = found.content
    title = f"Ablation, {found.name}"
    origin = paragraph(f"From {found.name}/ablation.json.", class_="quiet")
    own = sections(results, build_plots(results))
    beside = _beside_section(results)
    parts = [*own[:-2], beside, *own[-2:]] if beside else own
    return nested(slug(title, taken), title, join(lead(results), origin), parts)


def has_column(found: Found) -> bool:
    """Whether the paper has an ablation on the same images."""
    return bool(_columns(found.content))


def _columns(results: dict[str, Any]) -> list[str]:
    """Columns of Tables 4 and 5 that are of the tasks and images of an ablation."""
    data = results["data"]
    return [
        key for key in LOSSES.columns
        if data.get(COLUMNS[key].task, {}).get("dataset") == COLUMNS[key].dataset
    ]  # fmt: skip


def _beside_section(results: dict[str, Any]) -> Section | None:
    keys = _columns(results)
    if not keys:
        return None
    names = [variant["name"] for variant in results["variants"]]
    of_paper = UNFROZEN if any(name.startswith("unfreeze") for name in names) else LOSSES
    tables = tag("div", _ours(results, names, keys), _papers(of_paper, keys), class_="pair")
    text = paragraph(
        "Left: measured here, at 1 % of the labels. Right: printed in the paper, on the same set "
        "of images. The two were not measured together."
    )
    warning = paragraph(tag("strong", "Read with care. "), NO_SPREAD, class_="warning")
    return Section("beside-the-paper", "Beside the paper", join(text, tables, warning))


def _ours(results: dict[str, Any], names: list[str], keys: list[str]) -> Markup:
    rows = [[name, *[_cell(results, name, key) for key in keys]] for name in names]
    caption = (
        "Measured here, in %: mean over training seeds, below it the 95 % interval; "
        + ", ".join(f"{COLUMNS[key].metric} on {COLUMNS[key].title}" for key in keys)
        + "."
    )
    return table(caption, ["variant", *[COLUMNS[key].title for key in keys]], rows)


def _cell(results: dict[str, Any], name: str, key: str) -> Markup:
    wanted = (name, COLUMNS[key].task, _FRACTION, COLUMNS[key].metric)
    rows = [
        row for row in results["summary"]
        if tuple(row[n] for n in ("variant", "task", "fraction", "metric")) == wanted
    ]  # fmt: skip
    return score_cell(rows[0]) if rows else Markup(MISSING)


def _papers(of: PaperTable, keys: list[str]) -> Markup:
    rows = [
        [row.name, *[figure for key in keys for figure in figures(row, key, of)]] for row in of.rows
    ]
    caption = f"The paper's Table {of.number}: {of.title}; in %."
    return table(caption, ["variant", *[COLUMNS[key].title for key in keys]], rows)
