"""Generated studies as a table of one's own: ``studies.csv`` beside ``images/``."""

from pathlib import Path

import numpy as np

from mflag.data.datasets.phantom import split_of_patient
from mflag.data.phantom import LABELS
from mflag.data.phantom_formats.facts import Facts
from mflag.data.phantom_formats.image_files import png_bytes
from mflag.data.phantom_formats.tables import write_bytes, write_csv
from mflag.data.phantom_formats.tree import Format, Rows


def _write_study(folder: Path, seed: int, index: int) -> Rows:
    facts = Facts(seed, index)
    study = facts.study
    name = f"{study.patient}/{study.id}.png"
    pixels = study.image.astype(np.uint16) * 257 if index % 5 == 4 else study.image
    write_bytes(folder / "images" / name, png_bytes(pixels))
    labels = [int(study.labels[name]) for name in LABELS]
    row = [name, study.text, study.patient, split_of_patient(study.patient), *labels]
    return {"studies": [row]}


def _write_tables(folder: Path, rows: Rows) -> None:
    header = f"image,text,patient,split,{','.join(LABELS)}"
    write_csv(folder / "studies.csv", header, rows["studies"])


FORMAT = Format(_write_study, _write_tables)
