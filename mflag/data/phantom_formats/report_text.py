"""A generated report taken apart into sections, and set again as a hospital's report."""

import re
import textwrap

from mflag.data.phantom.sentences import HEADERS
from mflag.data.phantom_formats.facts import Facts

LINE_WIDTH = 79
INDICATIONS = (
    "Shortness of breath.", "Cough and fever.", "Chest pain.", "Preoperative evaluation.",
    "Follow-up.", "Status post fall.",
)  # fmt: skip
_HEADERS = sorted({header for pair in HEADERS for header in pair})
_HEADER = re.compile(rf"(?:^|(?<=\s))({'|'.join(map(re.escape, _HEADERS))})\s+")


def sections(text: str) -> dict[str, str]:
    """The generated report's ``findings`` and ``impression``, or ``body`` when it has no headers.

    Every header but that of the findings (impression, conclusion, summary) is the impression's.
    """
    first, *rest = _HEADER.split(text)
    if not rest:
        return {"body": first.strip()}
    named = {
        "findings" if header.lower().startswith("findings") else "impression": content.strip()
        for header, content in zip(rest[::2], rest[1::2], strict=True)
    }
    return named | ({"body": first.strip()} if first.strip() else {})


def indication(facts: Facts) -> str:
    """Why the patient came: the same for a study every time, and no word about what is seen."""
    return INDICATIONS[int(facts.name("indication"), 16) % len(INDICATIONS)]


def mimic_report(facts: Facts) -> str:
    """Set the report as MIMIC-CXR does: capital headers after a blank, lines of 79 characters.

    A report whose text has no headers ends as a paragraph of its own below the comparison.
    """
    parts = sections(facts.study.text)
    has_lateral = any(view.position == "LATERAL" for view in facts.views)
    who = {"F": "woman", "M": "man"}[facts.sex]
    lines = [
        f"{'FINAL REPORT':>45}",
        f" EXAMINATION:  {'CHEST (PA AND LAT)' if has_lateral else 'CHEST (PORTABLE AP)'}",
        " ",
        *_wrapped(f"INDICATION:  ___ year old {who}.  {indication(facts)}"),
        " ",
        f" COMPARISON:  {'Chest radiograph ___.' if facts.visit else 'None.'}",
        " ",
    ]
    order = sorted((name for name in parts if name != "body"), key=facts.study.text.lower().find)
    for name in order:
        lines += [f" {name.upper()}: ", " ", *_wrapped(parts[name]), " "]
    if "body" in parts:
        lines += _wrapped(parts["body"])
    return "\n".join(lines).rstrip() + "\n"


def _wrapped(text: str) -> list[str]:
    return [f" {line}" for line in textwrap.wrap(text, LINE_WIDTH - 1, break_on_hyphens=False)]
