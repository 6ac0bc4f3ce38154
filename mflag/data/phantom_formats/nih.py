"""Generated studies as NIH ChestX-ray14: label table, boxes, official lists and PNG files."""

from pathlib import Path

import numpy as np

from mflag.data.datasets.phantom import split_of_patient
from mflag.data.phantom_formats.facts import Facts
from mflag.data.phantom_formats.image_files import enlarge, png_bytes
from mflag.data.phantom_formats.label_names import nih_labels, nih_name
from mflag.data.phantom_formats.tables import write_bytes, write_csv
from mflag.data.phantom_formats.tree import Format, Rows

SIDE = 1024
ARCHIVES = 12
_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
# The eight classes that the real set has boxes of, by the box table's name.
BOXED = {
    "Atelectasis": "Atelectasis", "Effusion": "Effusion", "Cardiomegaly": "Cardiomegaly",
    "Infiltration": "Infiltrate", "Pneumonia": "Pneumonia", "Pneumothorax": "Pneumothorax",
    "Mass": "Mass", "Nodule": "Nodule",
}  # fmt: skip


def image_name(facts: Facts) -> str:
    """The image's name: patient and follow-up."""
    return f"{facts.number + 1:08}_{facts.visit:03}.png"


def has_boxes(facts: Facts) -> bool:
    """Whether the box table has this image: every third does, of those with a lesion."""
    return facts.index % 3 == 0


def _write_study(folder: Path, seed: int, index: int) -> Rows:
    facts = Facts(seed, index)
    study, name = facts.study, image_name(facts)
    pixels = enlarge(study.image, SIDE)
    if index % 7 == 3:  # some real files are colour with alpha
        pixels = np.dstack([pixels] * 3 + [np.full_like(pixels, 255)])
    archive = f"images_{facts.number % ARCHIVES + 1:03}"
    write_bytes(folder / archive / "images" / name, png_bytes(pixels))
    labels = "|".join(nih_labels(study)) or "No Finding"
    row = [name, labels, facts.visit, facts.number + 1, facts.age, facts.sex, facts.position]
    listed = "test_list" if split_of_patient(study.patient) == "test" else "train_val_list"
    rows: Rows = {"entries": [[*row, 2500, 2500, 0.168, 0.168]], listed: [[name]]}
    if has_boxes(facts):
        rows["boxes"] = [
            [name, BOXED[label], *(float(side * SIDE // 256) for side in lesion.box), "", "", ""]
            for lesion in study.lesions
            if (label := nih_name(lesion)) in BOXED
        ]
    return rows


def _write_tables(folder: Path, rows: Rows) -> None:
    write_csv(folder / "Data_Entry_2017_v2020.csv", _HEADER, rows["entries"])
    boxes = rows.get("boxes", [])
    write_csv(folder / "BBox_List_2017.csv", "Image Index,Finding Label,Bbox [x,y,w,h],,,", boxes)
    for name in ("train_val_list", "test_list"):
        names = "\n".join(row[0] for row in rows.get(name, []))  # the real ones end without newline
        write_bytes(folder / f"{name}.txt", names.encode())


FORMAT = Format(_write_study, _write_tables)
