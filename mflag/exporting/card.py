"""The model card that goes with an exported file."""

from pathlib import Path

import mflag
from mflag.runtime.atomic_write import file_sha256, write_text

CARD_SUFFIX = ".model_card.md"
_SECTION = """
## This file

| | |
| --- | --- |
| file | `{name}`, format `{format}` |
| sha256 | `{sha256}` |
| made from | encoder.safetensors, sha256 `{source}`, by mflag {version} |
| proved | {checked} |
"""


def card_path(out: Path) -> Path:
    """Where the card of an exported file stands."""
    return out.with_name(out.name + CARD_SUFFIX)


def find_card(encoder: Path) -> str | None:
    """The text of the ``model_card.md`` beside an encoder, if it is the card of these bytes."""
    card = encoder.parent / "model_card.md"
    if not (card.is_file() and encoder.is_file()):
        return None
    text = card.read_text(encoding="utf-8", errors="replace")
    return text if file_sha256(encoder) in text else None


def write_card(card: str, encoder: Path, out: Path, name: str, checked: str) -> Path:
    """Write the encoder's card, with a section on the exported file, beside that file.

    Args:
        card: of ``find_card``.
        encoder: the file exported.
        out: the file written.
        name: of the format.
        checked: how the file was proved, in words.

    Returns:
        The card's path.

    Raises:
        InputError: it cannot be written.
    """
    section = _SECTION.format(
        name=out.name,
        format=name,
        sha256=file_sha256(out),
        source=file_sha256(encoder),
        version=mflag.__version__,
        checked=checked,
    )
    path = card_path(out)
    write_text(path, card.rstrip("\n") + "\n" + section)
    return path
