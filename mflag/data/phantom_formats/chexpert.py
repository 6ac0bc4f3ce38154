"""Generated studies as CheXpert-v1.0-small: ``train.csv``, ``valid.csv`` and JPEG files."""

from pathlib import Path

from mflag.data.datasets.phantom import split_of_patient
from mflag.data.phantom_formats.facts import Facts, View
from mflag.data.phantom_formats.image_files import crop_sides, enlarge, jpeg_bytes
from mflag.data.phantom_formats.label_names import CHEXPERT, report_labels
from mflag.data.phantom_formats.tables import write_bytes, write_csv
from mflag.data.phantom_formats.tree import Format, Rows

RELEASE = "CheXpert-v1.0-small"
FIRST_VALID = 64_541  # patients of the real valid.csv are numbered from here
SIDE = 320
_HEADER = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{','.join(CHEXPERT)}"


def patient_folder(number: int, split: str) -> str:
    """The patient's folder below ``train`` or ``valid``."""
    return f"patient{number + (FIRST_VALID if split == 'valid' else 1):05}"


def _write_study(folder: Path, seed: int, index: int) -> Rows:
    facts = Facts(seed, index)
    is_valid = split_of_patient(facts.study.patient) == "valid"
    split = "valid" if is_valid else "train"
    # valid.csv was labelled by people who looked: complete, and nothing is uncertain.
    labels = facts.study.labels if is_valid else report_labels(facts.study)
    place = f"{split}/{patient_folder(facts.number, split)}/study{facts.visit + 1}"
    rows = []
    for number, view in enumerate(facts.views, 1):
        kind = "lateral" if view.position == "LATERAL" else "frontal"
        path = f"{place}/view{number}_{kind}.jpg"
        pixels = crop_sides(enlarge(view.image, SIDE), (0, 10, 20)[index % 3])
        write_bytes(folder / path, jpeg_bytes(pixels))
        rows.append(
            [f"{RELEASE}/{path}", *_person(facts, view), *(labels[name] for name in CHEXPERT)]
        )
    return {split: rows}


def _person(facts: Facts, view: View) -> list[object]:
    sex = {"F": "Female", "M": "Male"}[facts.sex]
    is_lateral = view.position == "LATERAL"
    return [sex, facts.age, "Lateral", None] if is_lateral else [
        sex, facts.age, "Frontal", view.position
    ]  # fmt: skip


def _write_tables(folder: Path, rows: Rows) -> None:
    for split in ("train", "valid"):
        write_csv(folder / f"{split}.csv", _HEADER, rows.get(split, []))


FORMAT = Format(_write_study, _write_tables)
