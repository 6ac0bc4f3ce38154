"""An invented MIMIC-CXR-JPG tree, in the release's format and names."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.datasets.mimic_cxr_tables import LABELS

REPORT = """\
                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 FINDINGS:  Invented study {number}
 with clear lungs.

 IMPRESSION:  No disease in study {number}.
"""
_SPLITS = ("train", "train", "train", "validate", "test")


class MimicTree:
    """Ten patients of two studies, each with a PA and a LATERAL image, until a test spoils some.

    Args:
        root: the folder to write.
        patients: how many.
    """

    def __init__(self, root: Path, patients: int = 10) -> None:
        """Plan the tables; nothing is written before ``write``."""
        self.root = root
        self.rows: list[dict[str, Any]] = [
            {
                "dicom_id": f"{number:08x}-00000000-00000000-00000000-{place:08x}",
                "subject_id": 10_000_000 + 1_000_003 * (number // 2),
                "study_id": 50_000_000 + number,
                "PerformedProcedureStepDescription": "CHEST (PA AND LAT)",
                "ViewPosition": view,
                "Rows": 24,
                "Columns": 20,
                "StudyDate": 21800101,
                "StudyTime": 101500.0,
            }
            for number in range(2 * patients)
            for place, view in enumerate(("PA", "LATERAL"))
        ]
        self.split = [
            {
                "dicom_id": row["dicom_id"],
                "study_id": row["study_id"],
                "subject_id": row["subject_id"],
                "split": _SPLITS[(row["study_id"] - 50_000_000) // 2 % 5],
            }
            for row in self.rows
        ]
        # In turn: present, absent, uncertain, not mentioned.
        self.labels = [
            {"subject_id": self.row(number)["subject_id"], "study_id": 50_000_000 + number}
            | {name: (1.0, 0.0, -1.0, None)[(number + k) % 4] for k, name in enumerate(LABELS)}
            for number in range(2 * patients)
        ]
        self.reports = {number: REPORT.format(number=number) for number in range(2 * patients)}

    def row(self, number: int, place: int = 0) -> dict:
        """The metadata row of a study's image."""
        return self.rows[2 * number + place]

    def image(self, number: int, place: int = 0) -> Path:
        """The file of a study's image."""
        row = self.row(number, place)
        return self.folder(number) / f"{row['dicom_id']}.jpg"

    def folder(self, number: int) -> Path:
        """The folder of a study; its report stands beside it."""
        row = self.row(number)
        subject = f"p{row['subject_id']}"
        return self.root / "files" / subject[:3] / subject / f"s{row['study_id']}"

    def report(self, number: int) -> Path:
        """The file of a study's report."""
        return self.folder(number).with_suffix(".txt")

    def write(self, version: str = "2.0.0", ending: str = ".csv.gz") -> "MimicTree":
        """Write tables, images and reports."""
        self.root.mkdir(parents=True, exist_ok=True)
        tables = {"metadata": self.rows, "split": self.split, "chexpert": self.labels}
        for name, rows in tables.items():
            self.write_table(f"mimic-cxr-{version}-{name}{ending}", rows)
        for number, text in self.reports.items():
            self.folder(number).mkdir(parents=True)
            self.report(number).write_text(text)
        for place in range(len(self.rows)):
            pixels = np.random.default_rng(place).integers(0, 256, (24, 20), np.uint8)
            Image.fromarray(pixels).save(self.image(*divmod(place, 2)))
        return self

    def write_table(self, name: str, rows: list[dict]) -> None:
        """Write a table, packed when its name says so."""
        content = pd.DataFrame(rows).to_csv(index=False).encode()
        if name.endswith(".gz"):
            content = gzip.compress(content, mtime=0)
        (self.root / name).write_bytes(content)


def config_of(tree: MimicTree, **options: Any) -> PrepareConfig:
    """The defaults of configs/dataset/mimic_cxr.yaml, but for ``options``."""
    defaults: dict[str, Any] = {
        "views": ["PA", "AP"], "split": "official", "labels": "chexpert",
        "sections": ["impression", "findings"], "min_words": 3,
    }  # fmt: skip
    dataset = DatasetConfig(name="mimic_cxr", **(defaults | options))
    root = tree.root
    return PrepareConfig(dataset=dataset, root=str(root), out=str(root.parent / "out"), workers=2)
