"""Tables that a screen reader and a phone can read."""

from collections.abc import Sequence

from mflag.reporting.markup import Markup, join, plain, tag

MISSING = "–"


def table(
    caption: object,
    header: Sequence[object],
    rows: Sequence[Sequence[object]],
    holds_words: bool = False,
) -> Markup:
    """Return a table whose first column names the rows.

    Args:
        caption: what is counted, and how.
        header: one cell a column.
        rows: one sequence a row, as long as the header; plain text is escaped.
        holds_words: cells are text, which may break, rather than numbers.
    """
    head = tag("tr", *[tag("th", cell, scope="col") for cell in header])
    body = [
        tag("tr", tag("th", row[0], scope="row"), *[tag("td", cell) for cell in row[1:]])
        for row in rows
    ]
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    # Wider than a phone: the box scrolls, and the keyboard reaches it.
    words = " words" if holds_words else ""
    label = f"Table: {plain(caption)}"
    return tag("div", whole, class_=f"scroll{words}", tabindex="0", role="region", aria_label=label)


def number(value: float | None, digits: int = 3, sign: bool = False) -> str:
    """Return a number with a fixed count of digits; a dash for None."""
    if value is None:
        return MISSING
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def estimate(value: float | None, low: float | None, high: float | None, extra: str = "") -> Markup:
    """Return a value, and below it its interval and a remark."""
    if value is None:
        return Markup(MISSING)
    remark = [tag("small", extra)] if extra else []
    return join(tag("span", number(value)), tag("small", span(low, high)), *remark)


def span(low: float | None, high: float | None, sign: bool = False) -> str:
    """Return an interval; with ``to`` where an end has a sign."""
    if low is None or high is None:
        return MISSING
    # The joiner keeps a narrow column from breaking after the dash.
    between = " to " if sign or low < 0 or high < 0 else "\N{EN DASH}\N{WORD JOINER}"
    return f"{number(low, sign=sign)}{between}{number(high, sign=sign)}"


def percent(fraction: float) -> str:
    """Return 0.01 as ``1 %``, with a space that does not break."""
    return f"{100 * fraction:g}\N{NO-BREAK SPACE}%"
