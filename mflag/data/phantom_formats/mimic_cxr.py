"""Generated studies as MIMIC-CXR-JPG with the reports of MIMIC-CXR beside the images."""

from pathlib import Path

from mflag.data.datasets.phantom import split_of_patient
from mflag.data.phantom_formats.facts import Facts, View
from mflag.data.phantom_formats.image_files import crop_sides, enlarge, jpeg_bytes
from mflag.data.phantom_formats.label_names import CHEXPERT, report_labels
from mflag.data.phantom_formats.report_text import mimic_report
from mflag.data.phantom_formats.tables import write_bytes, write_csv
from mflag.data.phantom_formats.tree import Format, Rows

SIDE = 512
NO_POSITION = 0.04  # images whose ViewPosition is empty, as in the real metadata
_METADATA = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,"
    "StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
    "PatientOrientationCodeSequence_CodeMeaning"
)
_VIEW_CODES = {"PA": "postero-anterior", "AP": "antero-posterior", "LATERAL": "lateral"}
LABELS = tuple(sorted(CHEXPERT))


def subject_id(number: int) -> int:
    """Eight digits that start with 1; no two patients share them."""
    return 10_000_000 + number * 7_919_003 % 10_000_000


def study_id(index: int) -> int:
    """Eight digits that start with 5; no two studies share them."""
    return 50_000_000 + index * 7_368_787 % 10_000_000


def dicom_id(facts: Facts, image: int) -> str:
    """Five groups of eight hexadecimal digits."""
    name = facts.name("dicom", image)
    return "-".join(name[start : start + 8] for start in range(0, 40, 8))


def stated_view(facts: Facts, image: int) -> str | None:
    """The ViewPosition of an image; None where the metadata leave it empty."""
    is_empty = int(facts.name("position", image), 16) % 1000 < 1000 * NO_POSITION
    return None if is_empty else facts.views[image].position


def _write_study(folder: Path, seed: int, index: int) -> Rows:
    facts = Facts(seed, index)
    subject, study = subject_id(facts.number), study_id(index)
    patient = folder / "files" / f"p{subject}"[:3] / f"p{subject}"
    write_bytes(patient / f"s{study}.txt", mimic_report(facts).encode())
    split = {"valid": "validate"}.get(split_of_patient(facts.study.patient))
    split = split or split_of_patient(facts.study.patient)
    rows: Rows = {"metadata": [], "split": []}
    for number, view in enumerate(facts.views):
        name = dicom_id(facts, number)
        pixels = enlarge(view.image, SIDE)
        pixels = crop_sides(pixels, (0, 12, 24)[index % 3])
        write_bytes(patient / f"s{study}" / f"{name}.jpg", jpeg_bytes(pixels))
        rows["metadata"].append([name, subject, study, *_metadata(facts, number, view)])
        rows["metadata"][-1][5:5] = pixels.shape
        rows["split"].append([name, study, subject, split])
    for table, doubts in (("chexpert", True), ("negbio", index % 2 == 0)):  # they differ at times
        labels = report_labels(facts.study, doubts=doubts)
        rows[table] = [[subject, study, *(labels[name] for name in LABELS)]]
    return rows


def _metadata(facts: Facts, number: int, view: View) -> list[object]:
    """The metadata row after the three ids, without rows and columns."""
    is_lateral = view.position == "LATERAL"
    procedure = "CHEST (PORTABLE AP)" if view.position == "AP" else "CHEST (PA AND LAT)"
    return [
        procedure,
        stated_view(facts, number),
        facts.date,
        _time(facts.index, number),
        procedure,
        _VIEW_CODES[view.position],
        None if is_lateral else "Erect",
    ]


def _time(index: int, image: int) -> str:
    """hhmmss.fff between 7 and 19 hours; the images of a study follow one another."""
    minutes, second = divmod(25_200 + index * 37 % 43_200, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}{minute:02}{second:02}.{image}00"


def _write_tables(folder: Path, rows: Rows) -> None:
    labels = f"subject_id,study_id,{','.join(LABELS)}"
    for name, header, ending in (
        ("metadata", _METADATA, ".csv.gz"),
        ("split", "dicom_id,study_id,subject_id,split", ".csv.gz"),
        ("chexpert", labels, ".csv.gz"),
        ("negbio", labels, ".csv"),  # unpacked by its user
    ):
        write_csv(folder / f"mimic-cxr-2.0.0-{name}{ending}", header, rows[name])


FORMAT = Format(_write_study, _write_tables)
