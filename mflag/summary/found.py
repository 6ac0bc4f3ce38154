"""What the programs left in folders, read and checked."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mflag.errors import InputError


@dataclass(frozen=True)
class Kind:
    """A file that says what a folder holds.

    Attributes:
        name: of the kind.
        program: that writes it.
        formats: that this version reads; empty where the file carries none.
        keys: that it must hold.
    """

    name: str
    program: str
    formats: tuple[int, ...]
    keys: tuple[str, ...]


_PROVENANCE = ("command", "versions", "machine")
KINDS = {
    "prepared.json": Kind("data", "mflag.prepare", (1, 2), ("dataset", "count", "options")),
    "metrics.jsonl": Kind("run", "mflag.train", (), ()),
    "analysis.json": Kind(
        "analysis", "mflag.analyze", (1,),
        ("rows", "points", "trajectory", "data", "notes", *_PROVENANCE),
    ),
    "results.json": Kind(
        "evaluation", "mflag.evaluate", (1,),
        ("task", "rows", "summary", "data", "options", "encoders", "notes", *_PROVENANCE),
    ),
    "ablation.json": Kind(
        "ablation", "mflag.ablate", (1,),
        ("summary", "variants", "data", "reference", "failures", *_PROVENANCE),
    ),
}  # fmt: skip
# Stand beside the files above and are read with them.
_COMPANIONS = {"funnel.json", "pictures.json"}
_NOT_ENTERED = {"checkpoints", "tensorboard", "plots", "pictures", "text"}


@dataclass(frozen=True)
class Found:
    """One file of a program.

    Attributes:
        kind: of ``KINDS``.
        name: its folder below the given one; no place of this machine.
        path: the file.
        content: of the file; empty for a run, whose lines are read later.
    """

    kind: str
    name: str
    path: Path
    content: dict[str, Any]


@dataclass
class Findings:
    """Everything that was found.

    Attributes:
        items: in the order of their names.
        unknown: names of JSON files of no known kind.
        inside: by the name of an ablation, how many runs and evaluations of its own are left out.
    """

    items: list[Found] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    inside: dict[str, int] = field(default_factory=dict)

    def of(self, kind: str) -> list[Found]:
        """Those of one kind."""
        return [item for item in self.items if item.kind == kind]


def find(folders: list[Path]) -> Findings:
    """Look through folders, with all below them.

    Raises:
        InputError: a folder is missing, holds nothing to report, or a file in it is damaged or of
            another format.
    """
    findings, seen = Findings(), set()
    for folder, label in zip(folders, _labels(folders), strict=True):
        if not folder.is_dir():
            what = "a file" if folder.exists() else "missing"
            raise InputError(f"runs names {str(folder)!r}, which is {what}; give folders")
        known = 0
        for path, ablation in _files(folder):
            known += path.name in KINDS
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            name = _name(path.parent, folder, label)
            if path.name not in KINDS:
                findings.unknown.append(f"{name}/{path.name}")
            elif ablation is not None and path.name != "prepared.json":
                owner = _name(ablation, folder, label)
                findings.inside[owner] = findings.inside.get(owner, 0) + 1
            else:
                findings.items.append(_read(path, name))
        if not known:
            raise InputError(
                f"{folder} holds nothing to report; give folders that hold one of "
                f"{', '.join(KINDS)}"
            )
    return findings


def _files(folder: Path) -> Iterator[tuple[Path, Path | None]]:
    """JSON files and logs below a folder, and the ablation's folder that they are a part of."""
    ablations: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(f for f in folders if f not in _NOT_ENTERED and f[0] not in "._")
        here = Path(place)
        within = next((a for a in ablations if a in here.parents), None)
        if "ablation.json" in files and within is None:
            ablations.append(here)
        for name in sorted(files):
            if name in KINDS or (name.endswith(".json") and name not in _COMPANIONS):
                yield here / name, within


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error


def _labels(folders: list[Path]) -> list[str]:
    """What each folder is called on the page: as few of its last parts as tell them apart."""
    parts = [folder.absolute().parts for folder in folders]
    for length in range(1, max(map(len, parts), default=1) + 1):
        labels = ["/".join(p[-length:]) for p in parts]
        if len(set(labels)) == len(labels):
            break
    return labels if len(folders) > 1 else [""]


def _name(folder: Path, root: Path, label: str) -> str:
    below = folder.relative_to(root).as_posix()
    pieces = [piece for piece in (label, below) if piece not in ("", ".")]
    return "/".join(pieces) or root.absolute().name


def _read(path: Path, name: str) -> Found:
    kind = KINDS[path.name]
    if path.suffix == ".jsonl":
        return Found(kind.name, name, path, {})
    content = read_json(path, kind.program)
    found = content.get("format")
    if found not in kind.formats:
        known = " or ".join(map(str, kind.formats))
        raise InputError(
            f"{path} has format {found!r}, but this version reads {known}; run {kind.program} again"
        )
    missing = [key for key in kind.keys if key not in content]
    if missing:
        raise InputError(
            f"{path} lacks {', '.join(missing)}: another version wrote it; run {kind.program} again"
        )
    return Found(kind.name, name, path, content)


def read_json(path: Path, program: str) -> dict[str, Any]:
    """Return the object in a file.

    Raises:
        InputError: it cannot be read, is cut short, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is cut short or damaged ({error}); run {program} again"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no object; run {program} again")
    return content
