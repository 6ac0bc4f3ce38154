"""Lists of overrides on a command line."""

import re

_LIST = re.compile(r"(train|evaluate)=\[(.*)\]", re.DOTALL)
_OPEN, _CLOSED = "[{(", "]})"


def quote_lists(words: list[str]) -> list[str]:
    """Return words in which ``train=[a=1,b=[2,3]]`` is ``train=["a=1","b=[2,3]"]``.

    Hydra takes no ``=`` in an unquoted element. Other words, and elements that are quoted already,
    stay as they are.
    """
    return [_quoted(word) for word in words]


def _quoted(word: str) -> str:
    match = _LIST.fullmatch(word)
    if match is None:
        return word
    elements = [_quoted_element(element.strip()) for element in _split(match.group(2))]
    return f"{match.group(1)}=[{','.join(elements)}]"


def _split(text: str) -> list[str]:
    """Cut at the commas that no bracket and no quotes enclose."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        depth += (character in _OPEN) - (character in _CLOSED) if not quote else 0
        if character == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part.strip()]


def _quoted_element(element: str) -> str:
    if element[0] in "\"'":
        return element
    escaped = element.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
