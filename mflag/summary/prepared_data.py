"""Prepared data on the page: how many images each filter left, and what they are."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

from mflag.data.funnel import Funnel, Step
from mflag.errors import InputError
from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.page import Section, bullets, definitions, paragraph
from mflag.reporting.parts import nested, slug
from mflag.reporting.places import without_places
from mflag.reporting.tables import MISSING, table
from mflag.summary.found import Found, read_json
from mflag.summary.wording import dataset_words

# Reasons of rejected files; the rest is counted together.
_REASONS = 10


def data_section(found: list[Found]) -> Section | None:
    """Return every set of prepared data once, however many folders hold it; None without any."""
    distinct: dict[str, list[Found]] = {}
    for item in found:
        hashes = item.content.get("hashes") or {"path": str(item.path)}
        distinct.setdefault(repr(sorted(hashes.items())), []).append(item)
    if not distinct:
        return None
    taken: set[str] = set()
    parts = [_one(items, slug(items[0].name, taken)) for items in distinct.values()]
    text = paragraph("What mflag.prepare read, what each filter left, and how it was divided.")
    return nested("data", "Data", text, parts)


def _one(items: list[Found], anchor: str) -> Section:
    info, folder = items[0].content, items[0].path.parent
    names = ", ".join(item.name for item in items)
    body = join(_funnel(folder), _facts(info, names), _rejected(folder, info), _remarks(info))
    title = f"{dataset_words(info['dataset'])} ({items[0].name})"
    return Section(anchor, title[0].upper() + title[1:], body)


def _funnel(folder: Path) -> Markup:
    path = folder / "funnel.json"
    if not path.is_file():
        return paragraph("No funnel.json stands beside these data.")
    content = read_json(path, "mflag.prepare")
    try:
        steps = Funnel.from_json(content).steps
        most = max((step.kept + step.dropped for step in steps), default=0)
        return _steps_table(steps, most)
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error!r}); run mflag.prepare again") from error


def _steps_table(steps: list[Step], most: int) -> Markup:
    has_published = any(step.published is not None for step in steps)
    has_notes = any(step.note for step in steps)
    header = ["filter", "kept", "dropped"] + ["published"] * has_published + ["share of the first"]
    rows = []
    for step in steps:
        share = 100 * step.kept / most if most else 0
        filled = tag("span", style=f"width:{share:.1f}%")
        bar = tag("span", filled, class_="bar", aria_hidden="true")
        shown = join(f"{share:.1f}\N{NO-BREAK SPACE}%", bar)
        published = MISSING if step.published is None else f"{step.published:,}"
        name = join(step.name, tag("small", step.note)) if step.note else step.name
        dropped = f"{step.dropped:,}" if step.dropped else MISSING
        rows.append([name, f"{step.kept:,}", dropped, *[published] * has_published, shown])
    caption = "The funnel: images that are left after each filter."
    if has_published:
        caption += " Published: what a paper or the dataset's authors print there."
    if has_notes:
        caption += " Below a filter: what it dropped."
    return table(caption, header, rows)


def _facts(info: dict[str, Any], names: str) -> Markup:
    splits = ", ".join(f"{name} {count:,}" for name, count in info.get("splits", {}).items())
    options = ", ".join(
        f"{key}={without_places(value)}"
        for key, value in info["options"].items()
        if value is not None
    )
    size = f"{info['image_size']} × {info['image_size']} pixels" if "image_size" in info else ""
    pairs: list[tuple[object, object]] = [
        ("Images", f"{info['count']:,}, {size}".rstrip(", ")),
        ("Patients", f"{info['patients']:,}" if "patients" in info else ""),
        ("Splits, by patient" if "patients" in info else "Splits", splits),
        ("Labels", ", ".join(map(str, info.get("labels", [])))),
        ("Attributes that no report mentions", ", ".join(map(str, info.get("attributes", [])))),
        ("Options", options),
        ("Folders", names),
    ]
    return definitions([(name, value) for name, value in pairs if value])


def _rejected(folder: Path, info: dict[str, Any]) -> Markup:
    """Reasons by their number; names of files of real studies stay out of the page."""
    path = folder / "rejected.csv"
    if not info.get("rejected") or not path.is_file():
        return Markup("")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reasons = Counter(_reason(row["reason"]) for row in csv.DictReader(file))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(f"{path} is damaged ({error!r}); run mflag.prepare again") from error
    shown = reasons.most_common(_REASONS)
    rest = sum(reasons.values()) - sum(count for _, count in shown)
    rows = [[reason, f"{count:,}"] for reason, count in shown]
    rows += [["other reasons", f"{rest:,}"]] if rest else []
    return table("Files that could not be used.", ["reason", "files"], rows)


def _reason(text: str) -> str:
    """The kind of a reason: what precedes a colon or a bracket, which may name files."""
    return without_places(text.partition(":")[0].partition("(")[0].strip()) or "unknown"


def _remarks(info: dict[str, Any]) -> Markup:
    remarks = [without_places(remark) for remark in info.get("remarks", [])]
    return bullets(list(remarks)) if remarks else Markup("")
