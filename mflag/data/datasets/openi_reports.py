"""Reports of Open-i's Indiana collection: XML files, in a folder or in NLMCXR_reports.tgz."""

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from mflag.errors import InputError

ARCHIVE = "NLMCXR_reports.tgz"
FOLDER = "ecgen-radiology"
MAX_REPORT_BYTES = 1 << 20  # the largest real one has 9 kB
MAX_ARCHIVE_BYTES = 1 << 30  # unpacked; the real one has 21 MB
MAX_REPORTS = 100_000
_MAX_DEPTH = 50
_BROKEN_ARCHIVE = (tarfile.TarError, OSError, EOFError, zlib.error)


class BrokenReport(Exception):
    """A report that cannot be used; the message is the reason in ``rejected.csv``."""


@dataclass(frozen=True)
class Report:
    """What one XML file says.

    Attributes:
        id: of the report, ``CXR1``.
        images: ids of its images.
        sections: text by lower-case name: findings, impression, indication, comparison.
        major: MeSH headings by human coders, lower case, ``opacity/lung/base/left``.
        automatic: terms by the Medical Text Indexer, lower case.
    """

    id: str
    images: tuple[str, ...]
    sections: dict[str, str]
    major: tuple[str, ...]
    automatic: tuple[str, ...]


def find_reports(root: Path) -> Path | None:
    """Return the archive, or the folder of XML files, that is in ``root``."""
    for path in (root / ARCHIVE, root / FOLDER, root / "NLMCXR_reports" / FOLDER):
        if path.is_file() or path.is_dir():
            return path
    return root if next(root.glob("*.xml"), None) else None


def read_files(path: Path) -> list[tuple[str, bytes]]:
    """Read all XML files, without writing any; one byte more than allowed of a too large one.

    Args:
        path: what ``find_reports`` found.

    Returns:
        Name and content, in the order of the reports' numbers.

    Raises:
        InputError: no XML file, a damaged archive, or one that unpacks to more than 1 GiB.
    """
    found = list(_archived(path) if path.is_file() else _in_folder(path))
    if not found:
        raise InputError(f"{path} has no XML file; download {ARCHIVE} again")
    return sorted(found, key=lambda pair: (len(pair[0]), pair[0]))


def parse_report(content: bytes) -> Report:
    """Read one XML file; nothing that it names is opened, no entity is expanded.

    Raises:
        BrokenReport: too large, not XML, with a document type or entities, or without an id.
    """
    if len(content) > MAX_REPORT_BYTES:
        raise BrokenReport("report larger than 1 MiB")
    root = _parse(content)
    uid = root.find("uId")
    name = "" if uid is None else uid.get("id", "").strip()
    if not name:
        raise BrokenReport("report without uId")
    sections: dict[str, str] = {}
    for part in root.iter("AbstractText"):
        text = " ".join((part.text or "").split())
        if text:
            sections[part.get("Label", "").strip().lower()] = text
    images = tuple(image.get("id", "").strip() for image in root.iter("parentImage"))
    if "" in images:
        raise BrokenReport("parentImage without id")
    return Report(name, images, sections, _terms(root, "major"), _terms(root, "automatic"))


def _terms(root: Element, kind: str) -> tuple[str, ...]:
    found = (" ".join((term.text or "").lower().split()) for term in root.iterfind(f"MeSH/{kind}"))
    return tuple(filter(None, found))


def _parse(content: bytes) -> Element:
    builder, depth = TreeBuilder(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise BrokenReport(f"XML nested deeper than {_MAX_DEPTH}")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise BrokenReport("XML with a document type; entities are not read")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    # Before any entity can be declared, so none is ever expanded or fetched.
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
        return builder.close()
    except (expat.ExpatError, LookupError, ValueError, AssertionError) as error:
        raise BrokenReport(f"XML is broken ({error})") from error


def _in_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in path.glob("*.xml"):
        if file.is_file():
            with open(file, "rb") as opened:
                yield _printable(file.name), opened.read(MAX_REPORT_BYTES + 1)


def _printable(name: str) -> str:
    """A file name in UTF-8; bytes that are none are shown as such."""
    return os.fsencode(name).decode("utf-8", "replace")


def _archived(path: Path) -> Iterator[tuple[str, bytes]]:
    """Members are read where they are: their names lead nowhere, links are passed over."""
    count = 0
    try:
        with _Bounded(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as archive:
            for member in archive:
                if not member.isreg() or not member.name.endswith(".xml"):
                    continue
                count += 1
                if count > MAX_REPORTS:
                    raise InputError(f"{path} has more than {MAX_REPORTS:,} reports; check it")
                file = archive.extractfile(member)
                if file is not None:
                    yield _printable(Path(member.name).name), file.read(MAX_REPORT_BYTES + 1)
    except _BROKEN_ARCHIVE as error:
        raise InputError(f"{path} is damaged ({error}); download it again") from error


class _Bounded(gzip.GzipFile):
    """A packed file that ends in an error when it gives more than an archive may hold."""

    _given = 0

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        self._given += len(content)
        if self._given > MAX_ARCHIVE_BYTES:
            raise InputError(f"{self.name} unpacks to more than 1 GiB; check where it is from")
        return content
