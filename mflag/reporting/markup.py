"""HTML that is safe to join: whatever is not already markup gets escaped."""

import re
from html import escape, unescape


class Markup(str):
    """Text that is HTML already."""


def html(text: object) -> Markup:
    """Return ``text`` as HTML; everything but ``Markup`` is escaped."""
    return text if isinstance(text, Markup) else Markup(escape(str(text)))


def tag(name: str, *content: object, **attributes: object) -> Markup:
    """Return an element.

    Args:
        name: of the element.
        content: its children; plain text is escaped.
        attributes: escaped; ``class_`` is ``class``, ``aria_label`` is ``aria-label``.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{written}>{join(*content)}</{name}>")


def join(*content: object) -> Markup:
    """Return several pieces one after the other."""
    return Markup("".join(html(piece) for piece in content))


def plain(content: object) -> str:
    """Return the text of markup, for where no element may stand."""
    return (
        unescape(re.sub(r"<[^>]*>", "", content)) if isinstance(content, Markup) else str(content)
    )
