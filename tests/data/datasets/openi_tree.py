"""Invented Open-i reports and images."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mflag.config.prepare import DatasetConfig, PrepareConfig

BOMB = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]><x>&i;</x>"
)


def xml(number, images=2, findings="Lungs are clear.", impression="No disease.", mesh="normal"):
    panels = "".join(f'<parentImage id="{name}"/>' for name in image_names(number, images))
    terms = "".join(f"<major>{term}</major>" for term in filter(None, mesh.split(";")))
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<eCitation><uId id="CXR{number}"/><Abstract>'
        f'<AbstractText Label="FINDINGS">{findings}</AbstractText>'
        f'<AbstractText Label="IMPRESSION">{impression}</AbstractText></Abstract>'
        f"<MeSH>{terms}<automatic>Opacity</automatic></MeSH>{panels}</eCitation>"
    )


def image_names(number, images=2):
    return [f"CXR{number}_IM-{number:04}-{place}001" for place in range(1, images + 1)]


class OpeniTree:
    """Ten reports of two images, until a test spoils some."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reports = {f"{number}.xml": xml(number) for number in range(1, 11)}

    def image(self, number, place=0) -> Path:
        return self.root / "NLMCXR_png" / f"{image_names(number)[place]}.png"

    def write(self, packed=True) -> "OpeniTree":
        (self.root / "NLMCXR_png").mkdir(parents=True)
        for number in range(1, 11):
            for place in range(2):
                pixels = np.random.default_rng(2 * number + place).integers(0, 256, (24, 20))
                Image.fromarray(pixels.astype(np.uint8)).save(self.image(number, place))
        if packed:
            write_archive(self.root / "NLMCXR_reports.tgz", self.reports)
            return self
        (self.root / "ecgen-radiology").mkdir()
        for name, text in self.reports.items():
            (self.root / "ecgen-radiology" / name).write_text(text)
        return self


def write_archive(path: Path, reports: dict[str, str], *more: tarfile.TarInfo) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in reports.items():
            member = tarfile.TarInfo(f"ecgen-radiology/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
        for member in more:
            archive.addfile(member, io.BytesIO(b"\0" * member.size))


def config_of(tree, csv=None, **options):
    defaults: dict[str, Any] = {
        "views": ["PA", "AP"], "split": "patient", "labels": "major",
        "sections": ["impression", "findings"], "min_words": 1,
    }  # fmt: skip
    dataset = DatasetConfig(name="openi", **(defaults | options))
    out = str(tree.root.parent / "out")
    return PrepareConfig(dataset=dataset, root=str(tree.root), csv=csv, out=out, workers=2)
