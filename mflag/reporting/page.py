"""The frame of a report: one file, no network, light and dark, desk and phone."""

from collections.abc import Iterable
from dataclasses import dataclass

from mflag.reporting.markup import Markup, html, join, tag
from mflag.reporting.style import PAGE_STYLE

DISCLAIMER = "Research use only. Not a medical device."


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        anchor: its id, for links.
        title: its heading.
        body: what stands below.
        style: CSS rules that the body needs beside the page's, trusted.
        script: JavaScript that the body needs, trusted; it runs once, after the page.
    """

    anchor: str
    title: str
    body: Markup
    style: str = ""
    script: str = ""


def render_page(title: str, lead: Markup, sections: list[Section], meta: str = "") -> str:
    """Return the whole HTML document.

    Args:
        title: heading and name of the browser's tab.
        lead: what a hurried reader must see first.
        sections: in order; each gets an entry in the table of contents.
        meta: more elements of the head, trusted.
    """
    skip = tag("a", "Skip to the content", href="#main", class_="skip")
    badge = tag("p", DISCLAIMER, class_="badge", role="note")
    header = tag("header", badge, tag("h1", title), lead)
    parts = [tag("section", tag("h2", s.title), s.body, id=s.anchor) for s in sections]
    # The focus goes where the skip link leads.
    main = tag("main", *parts, id="main", tabindex="-1")
    footer = tag("footer", tag("p", DISCLAIMER))
    scripts = [f"<script>{code}</script>" for code in distinct(s.script for s in sections)]
    columns = tag("div", contents(sections, "Contents"), main, class_="columns")
    body = tag("body", skip, header, columns, footer, *map(Markup, scripts))
    style = PAGE_STYLE + "".join(distinct(s.style for s in sections))
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark">{meta}'
        f"<title>{html(title)}</title><style>{style}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>{body}</html>\n'


def contents(sections: list[Section], label: str) -> Markup:
    """Return links to sections.

    Args:
        sections: in order.
        label: what screen readers call the list.
    """
    links = [tag("li", tag("a", s.title, href=f"#{s.anchor}")) for s in sections]
    return tag("nav", tag("ul", *links), aria_label=label)


def distinct(texts: Iterable[str]) -> list[str]:
    """Each text once, without empty ones."""
    return [text for text in dict.fromkeys(texts) if text]


def paragraph(*content: object, class_: str = "") -> Markup:
    """Return a paragraph."""
    return tag("p", *content, **({"class_": class_} if class_ else {}))


def bullets(items: list[object]) -> Markup:
    """Return a list."""
    return tag("ul", *[tag("li", item) for item in items])


def details(summary: str, *content: object) -> Markup:
    """Return content that opens on a click."""
    return tag("details", tag("summary", summary), *content)


def definitions(pairs: list[tuple[object, object]]) -> Markup:
    """Return names and what they mean."""
    return tag("dl", *[join(tag("dt", name), tag("dd", meaning)) for name, meaning in pairs])
