"""What each reader should make of a generated study, from the study itself."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mflag.data.datasets.openi_labels import RULES
from mflag.data.datasets.phantom import split_of_patient
from mflag.data.phantom import LABELS
from mflag.data.phantom_formats import (
    chexpert,
    mimic_cxr,
    nih,
    openi,
    rsna,
)
from mflag.data.phantom_formats.dicom_files import uid
from mflag.data.phantom_formats.facts import Facts
from mflag.data.phantom_formats.label_names import NIH, nih_labels
from mflag.data.phantom_formats.report_text import sections

Rows = Iterator[dict[str, Any]]


def text_of(facts: Facts) -> str:
    """Impression, then findings; of a report without headers all of it."""
    parts = sections(facts.study.text)
    return " ".join(parts[name] for name in ("impression", "findings", "body") if name in parts)


def mimic_cxr_rows(facts: Facts) -> Rows:
    for image in range(len(facts.views)):
        view = mimic_cxr.stated_view(facts, image)
        if view in ("PA", "AP"):
            yield {
                "id": mimic_cxr.dicom_id(facts, image),
                "patient": str(mimic_cxr.subject_id(facts.number)),
                "study": str(mimic_cxr.study_id(facts.index)),
                "split": split_of_patient(facts.study.patient),
                "text": text_of(facts),
                "view": view,
                **facts.study.mentions,
            }


def chexpert_rows(facts: Facts) -> Rows:
    if split_of_patient(facts.study.patient) == "valid":  # split=patient reads train.csv alone
        return
    patient = chexpert.patient_folder(facts.number, "train")
    study = f"{patient}/study{facts.visit + 1}"
    for image, view in enumerate(facts.views, 1):
        if view.position != "LATERAL":
            yield {
                "id": f"train/{study}/view{image}_frontal.jpg",
                "patient": patient,
                "study": study,
                "text": "",
                "view": view.position,
                "sex": facts.sex,
                "age": facts.age,
                **facts.study.mentions,
            }


def nih_rows(facts: Facts) -> Rows:
    yield {
        "id": nih.image_name(facts),
        "patient": str(facts.number + 1),
        "text": "",
        "view": facts.position,
        "sex": facts.sex,
        "age": facts.age,
        **{name: float(name in nih_labels(facts.study)) for name in NIH},
    }


def rsna_rows(facts: Facts) -> Rows:
    is_boxed = any(rsna.is_boxed(lesion) for lesion in facts.study.lesions)
    yield {
        "id": rsna.patient_id(facts),
        "patient": rsna.patient_id(facts),
        "text": "",
        "view": facts.position,
        "sex": facts.sex,
        "age": facts.age,
        "Pneumonia": float(is_boxed),
    }


def siim_rows(facts: Facts) -> Rows:
    yield {
        "id": uid(facts, "image"),
        "patient": facts.name("patient"),
        "text": "",
        "view": facts.position,
        "sex": facts.sex,
        "age": facts.age,
        "Pneumothorax": facts.study.labels["Pneumothorax"],
    }


def openi_rows(facts: Facts) -> Rows:
    lesions = facts.study.lesions
    drawn = {name for lesion in lesions for name in (lesion.finding, lesion.kind.capitalize())}
    told = {name: float(name in drawn) for name in RULES if name in LABELS}
    told["No Finding"] = float(not lesions)
    told["Lung Opacity"] = float("Haze" in drawn or "Consolidation" in drawn)
    told["Mass"], told["Nodule"] = float("Mass" in drawn), float("Nodule" in drawn)
    told["Fibrosis"] = float("Reticular" in drawn)
    for image, name in enumerate(openi.image_names(facts)):
        view = openi.stated_view(facts, image)
        if view in ("PA", "AP"):
            yield {
                "id": name,
                "patient": f"CXR{openi.report_number(facts)}",
                "text": text_of(facts),
                "view": view,
                **told,
            }


def csv_rows(facts: Facts) -> Rows:
    study = facts.study
    yield {
        "id": f"{study.patient}/{study.id}.png",
        "patient": study.patient,
        "split": split_of_patient(study.patient),
        "text": study.text,
        **study.labels,
    }


ROWS = {
    "mimic_cxr": mimic_cxr_rows,
    "chexpert": chexpert_rows,
    "nih": nih_rows,
    "rsna": rsna_rows,
    "siim": siim_rows,
    "openi": openi_rows,
    "csv": csv_rows,
}


def is_same(found: Any, wanted: Any) -> bool:
    """Equality where NaN equals NaN."""
    if isinstance(wanted, str):
        return bool(found == wanted)
    return bool(np.isclose(float(found), float(wanted), equal_nan=True))
