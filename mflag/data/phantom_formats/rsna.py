"""Generated studies as the RSNA pneumonia challenge, stage 2: boxes, classes and DICOM files."""

from pathlib import Path

from mflag.data.phantom import Lesion
from mflag.data.phantom.findings import Condition
from mflag.data.phantom.patient import make_patient
from mflag.data.phantom_formats.dicom_files import dicom_bytes, uid
from mflag.data.phantom_formats.facts import Facts, takes_patient
from mflag.data.phantom_formats.image_files import enlarge
from mflag.data.phantom_formats.tables import write_bytes, write_csv
from mflag.data.phantom_formats.tree import Format, Rows

SIDE = 1024
# Opacities that the challenge's readers boxed as possible pneumonia.
BOXED = ("Consolidation", "Pneumonia", "haze")


def patient_id(facts: Facts) -> str:
    """The image's name, a UUID."""
    name = facts.name("rsna")
    return "-".join((name[:8], name[8:12], name[12:16], name[16:20], name[20:32]))


def is_boxed(lesion: Lesion | Condition) -> bool:
    """Whether the challenge's readers would have drawn a box."""
    return lesion.finding in BOXED or lesion.kind in BOXED


def _takes(seed: int, number: int) -> bool:
    first = make_patient(seed, number).visits[0]
    return takes_patient(seed, number, any(map(is_boxed, first)))


def _write_study(folder: Path, seed: int, index: int) -> Rows:
    facts = Facts(seed, index)
    name, study = patient_id(facts), facts.study
    content = dicom_bytes(enlarge(study.image, SIDE), facts, name, uid(facts, "image"))
    write_bytes(folder / "stage_2_train_images" / f"{name}.dcm", content)
    boxes = [
        [float(side * SIDE // 256) for side in lesion.box]
        for lesion in study.lesions
        if is_boxed(lesion)
    ]
    known = "No Lung Opacity / Not Normal" if study.lesions else "Normal"
    return {
        "labels": [[name, *box, 1] for box in boxes] or [[name, None, None, None, None, 0]],
        "classes": [[name, "Lung Opacity"]] * len(boxes) or [[name, known]],
    }


def _write_tables(folder: Path, rows: Rows) -> None:
    labels = folder / "stage_2_train_labels.csv"
    write_csv(labels, "patientId,x,y,width,height,Target", rows["labels"])
    write_csv(folder / "stage_2_detailed_class_info.csv", "patientId,class", rows["classes"])


FORMAT = Format(_write_study, _write_tables, one_study_a_patient=True, takes=_takes)
