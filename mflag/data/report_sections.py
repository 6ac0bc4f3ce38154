"""Sections of a MIMIC-CXR report, by the rules of MIT-LCP, and the text they make."""

import re
from collections.abc import Sequence

from mflag.data.report_names import (
    CONTAINED_NAMES,
    FULL_REPORT,
    LAST_PARAGRAPH,
    MISPLACED,
    PREAMBLE,
    SECTION_NAMES,
    SECTION_OF_HEADER,
    SLICES,
    VIEW_PHRASES,
)
from mflag.errors import InputError

_HEADER = re.compile(r"\n ([A-Z ()/,-]+):\s")
_BLANK_LINE = "\n \n"
_MAIN = ("impression", "findings")
_WORD = re.compile(r"[^\W_]+")  # "___" stands for what was anonymised: no word


def report_sections(report: str, study: str | None = None) -> dict[str, str]:
    """Return the sections of a report by name; of several with one name the last.

    Args:
        report: the whole text of a report file.
        study: its study id, digits only; 54 studies have rules of their own, and what those
            choose becomes ``impression``.

    Returns:
        Section name to stripped text. Empty ``impression`` and ``findings`` are left out; when
        neither is there, the text after the last section's first paragraph is ``last_paragraph``.
    """
    if study in SLICES:
        start, stop = SLICES[study]
        text = report[start:stop].strip()
        return {"impression": text} if text else {}
    sections = dict(split_report(report))
    if study in MISPLACED and MISPLACED[study] in sections:
        return {"impression": sections[MISPLACED[study]].strip()}
    return {name: text.strip() for name, text in sections.items()}


def split_report(report: str) -> list[tuple[str, str]]:
    """Split a report at its headers.

    A header is a line that starts with one blank and capitals up to a colon. Time and memory grow
    with the length of the report, whatever it holds.

    Returns:
        Name and text of each section in the report's order. What stands before the first header
        is ``preamble``; a report without any is one ``full report``.
    """
    header = _HEADER.search(report)
    if header is None:
        sections = [(FULL_REPORT, report)]
    else:
        sections = [(PREAMBLE, report[: header.start(1)])]
    while header is not None:
        start, name = header.end(), section_name(header[1])
        # What looks like a header in the rest of this line is none.
        line_end = report.find("\n", start)
        header = _HEADER.search(report, max(line_end, start))
        stop = len(report) if header is None else header.start()
        sections.append((name, report[start:stop]))
    sections = [(name, text) for name, text in sections if name not in _MAIN or text.strip()]
    if not any(name in _MAIN for name, _ in sections):
        name, text = sections[-1]
        first, blank_line, rest = text.partition(_BLANK_LINE)
        if blank_line:
            sections[-1:] = [(name, first), (LAST_PARAGRAPH, rest)]
    return sections


def section_name(header: str) -> str:
    """Translate a header into the name of its section; an unknown one stays itself."""
    header = header.lower().strip()
    if header in SECTION_OF_HEADER:
        return SECTION_OF_HEADER[header]
    for name in CONTAINED_NAMES:
        if name in header:
            return name
    return "findings" if any(phrase in header for phrase in VIEW_PHRASES) else header


def compose_text(sections: dict[str, str], wanted: Sequence[str]) -> str:
    """Join the wanted sections in the order given, on one line.

    Args:
        sections: of one report.
        wanted: section names. When one of them is ``impression`` or ``findings`` and the report
            has neither, ``last_paragraph`` takes their place.

    Returns:
        One line without double blanks; empty when the report has none of the sections.
    """
    texts = [" ".join(sections.get(name, "").split()) for name in wanted]
    text = " ".join(filter(None, texts))
    if text or not set(wanted) & set(_MAIN):
        return text
    return " ".join(sections.get(LAST_PARAGRAPH, "").split())


def count_words(text: str) -> int:
    """Count runs of letters and digits; the ``___`` of anonymised spans are none."""
    return sum(1 for _ in _WORD.finditer(text))


def check_sections(wanted: Sequence[str], known: Sequence[str] = SECTION_NAMES) -> None:
    """Refuse section names that no report can have.

    Raises:
        InputError: it lists the names there are.
    """
    for name in wanted:
        if name not in known:
            raise InputError(
                f"dataset.sections has {name!r}; choose from {', '.join(known)}, or give [] to "
                "read no reports"
            )
