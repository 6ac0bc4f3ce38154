"""Pictures of studies on a page, and the folder that keeps them beside it."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from mflag.errors import InputError
from mflag.reporting.markup import Markup, tag
from mflag.runtime.atomic_write import atomic_write, write_json

FOLDER = "pictures"
LIST = "pictures.json"


@dataclass(frozen=True)
class Picture:
    """An image of a study.

    Attributes:
        png: content of a PNG file.
        alt: what it shows, for those who do not see it.
        title: findings or scores.
        text: report text, or "".
    """

    png: bytes
    alt: str
    title: str
    text: str = ""


def gallery(pictures: list[Picture]) -> Markup:
    """Return the pictures side by side, with their titles and texts."""
    figures = []
    for picture in pictures:
        source = f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"
        image = tag("img", alt=picture.alt, width=256, height=256, src=source)
        image = Markup(image.removesuffix("</img>"))
        text = [tag("div", picture.text)] if picture.text else []
        figures.append(
            tag("figure", image, tag("figcaption", tag("strong", picture.title), *text))
        )  # fmt: skip
    return tag("div", *figures, class_="gallery")


def write_pictures(pictures: list[Picture], out: Path) -> None:
    """Write ``pictures/`` into ``out``, with a list of what they show.

    Raises:
        InputError: the disk is full or not writable.
    """
    folder, listed = out / FOLDER, []
    for k, picture in enumerate(pictures, 1):
        name = f"{k:03}.png"
        with atomic_write(folder / name) as file:
            file.write(picture.png)
        described = {"alt": picture.alt, "title": picture.title, "text": picture.text}
        listed.append({"file": name} | described)
    if listed:
        write_json(folder / LIST, {"pictures": listed})


def read_pictures(out: Path) -> list[Picture]:
    """Read what ``write_pictures`` wrote; nothing where there is no such folder.

    Raises:
        InputError: the list is damaged, or a picture of it is missing.
    """
    path = out / FOLDER / LIST
    if not path.is_file():
        return []
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["pictures"]
        return [
            Picture(
                (out / FOLDER / Path(p["file"]).name).read_bytes(), p["alt"], p["title"], p["text"]
            )
            for p in listed
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} does not fit its pictures ({error!r}); evaluate again, or delete {path.parent}"
        ) from error
