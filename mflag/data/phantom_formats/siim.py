"""Generated studies as the SIIM-ACR pneumothorax challenge: run-length masks and DICOM files."""

from pathlib import Path

import numpy as np

from mflag.data.phantom.patient import make_patient
from mflag.data.phantom_formats.dicom_files import dicom_bytes, uid
from mflag.data.phantom_formats.facts import Facts, takes_patient
from mflag.data.phantom_formats.image_files import enlarge
from mflag.data.phantom_formats.tables import write_bytes, write_csv
from mflag.data.phantom_formats.tree import Format, Rows
from mflag.data.run_lengths import encode_mask

FINDING = "Pneumothorax"
SIDE = 1024
EMPTY = " -1"  # with its blank, as in the file that the published readers were written for


def _takes(seed: int, number: int) -> bool:
    first = make_patient(seed, number).visits[0]
    return takes_patient(seed, number, any(c.finding == FINDING for c in first))


def _write_study(folder: Path, seed: int, index: int) -> Rows:
    facts = Facts(seed, index)
    image = uid(facts, "image")
    content = dicom_bytes(enlarge(facts.study.image, SIDE), facts, facts.name("patient"), image)
    place = folder / "dicom-images-train" / uid(facts, "study") / uid(facts, "series")
    write_bytes(place / f"{image}.dcm", content)
    masks = [
        piece
        for lesion in facts.study.lesions
        if lesion.finding == FINDING
        for piece in _pieces(np.kron(lesion.mask, np.ones((4, 4), bool)), index)
    ]
    return {"runs": [[image, f" {encode_mask(mask)}"] for mask in masks] or [[image, EMPTY]]}


def _pieces(mask: np.ndarray, index: int) -> list[np.ndarray]:
    """The mask; of every third study as two that overlap, and whose union it is."""
    rows = np.flatnonzero(mask.any(axis=1))
    if index % 3 or len(rows) < 16:
        return [mask]
    upper, lower = mask.copy(), mask.copy()
    upper[rows[len(rows) * 2 // 3] :] = False
    lower[: rows[len(rows) // 3]] = False
    return [piece for piece in (upper, lower) if piece.any()]


def _write_tables(folder: Path, rows: Rows) -> None:
    write_csv(folder / "train-rle.csv", "ImageId, EncodedPixels", rows["runs"])


FORMAT = Format(_write_study, _write_tables, one_study_a_patient=True, takes=_takes)
