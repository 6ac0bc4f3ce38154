"""Sections of a section: several reports on one page, with ids and headings of their own."""

import re
import unicodedata

from mflag.reporting.markup import Markup, join, tag
from mflag.reporting.page import Section, contents, distinct

_REFERENCES = re.compile(
    r'(\s(?:id|for|aria-labelledby|aria-describedby|aria-controls)="|\shref="#|url\(#)(?=[^"\s)])'
)
_HEADING = re.compile(r"<(/?)h([2-5])(?=[\s>])")


def nested(anchor: str, title: str, intro: Markup, sections: list[Section]) -> Section:
    """Return one section that holds others, a heading deeper, and the links to them.

    Args:
        anchor: its id; the ids of all that it holds begin with it.
        title: its heading.
        intro: what stands before the links.
        sections: as they would stand on a page of their own.
    """
    inner = [
        Section(f"{anchor}-{s.anchor}", s.title, deeper(own_ids(s.body, anchor))) for s in sections
    ]
    parts = [tag("section", tag("h3", s.title), s.body, id=s.anchor) for s in inner]
    links = contents(inner, f"In {title}") if len(inner) > 1 else Markup("")
    return Section(
        anchor,
        title,
        join(deeper(own_ids(intro, anchor)), links, *parts),
        "".join(distinct(s.style for s in sections)),
        "".join(distinct(s.script for s in sections)),
    )


def own_ids(markup: Markup, prefix: str) -> Markup:
    """Put ``prefix-`` before every id, and before what refers to one."""
    return Markup(_REFERENCES.sub(rf"\g<1>{prefix}-", markup))


def deeper(markup: Markup) -> Markup:
    """Make every heading one level lower; text cannot hold one, it is escaped."""
    return Markup(_HEADING.sub(lambda m: f"<{m[1]}h{int(m[2]) + 1}", markup))


def slug(text: str, taken: set[str]) -> str:
    """Return an id that reads like ``text`` and is not in ``taken``; adds it there."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    base = re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "part"
    found, k = base, 2
    while found in taken:
        found, k = f"{base}-{k}", k + 1
    taken.add(found)
    return found
