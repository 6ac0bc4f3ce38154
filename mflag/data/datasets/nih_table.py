"""NIH ChestX-ray14's Data_Entry_2017.csv, of 2017 and of 2020."""

from pathlib import Path

import numpy as np
import pandas as pd

from mflag.data.datasets.label_tables import read_label_table, refuse_twice, refuse_values
from mflag.data.manifest import LABEL_PREFIX

LABELS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
    "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
    "Hernia",
)  # fmt: skip
PUBLISHED_ROWS = 112_120
VIEWS = ("PA", "AP")
_HEALTHY = "No Finding"
_COLUMNS = (
    "Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender",
    "View Position",
)  # fmt: skip
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_OLDEST = 120  # the table of 2017 has ages up to 414: typing errors


def read_nih_table(path: Path) -> pd.DataFrame:
    """Read the label table.

    Args:
        path: the file of 2020 (11 columns: those with a comma in brackets are two) or of 2017 (a
            12th without a name, some ages as 058Y or over 400); also packed by gzip.

    Returns:
        A row an image: ``id`` (``00000001_000.png``), ``patient`` (``1``), ``study`` (= id),
        ``view`` (PA, AP), ``sex``, ``age`` (years; NaN where nobody gets so old), ``follow_up``
        (number of the patient's examination), and ``label/NAME`` 1 or 0 of 14 findings: all 0
        stands for No Finding.

    Raises:
        InputError: another release, a value that no release has, or an image twice.
    """
    raw = read_label_table(path, _COLUMNS, "NIH ChestX-ray14")
    image = raw["Image Index"].astype(str)
    is_name = image.str.fullmatch(r"\d+_\d+\.png", na=False)
    refuse_values(raw["Image Index"], ~is_name, path, "a name such as 00000001_000.png")
    refuse_twice(image, path)
    patient, follow_up = (
        pd.to_numeric(raw[name], errors="coerce") for name in ("Patient ID", "Follow-up #")
    )
    refuse_values(raw["Patient ID"], patient.isna(), path, "a number")
    refuse_values(raw["Follow-up #"], follow_up.isna(), path, "a number")
    view = raw["View Position"].astype(object)
    refuse_values(view, ~view.isin(VIEWS), path, " or ".join(VIEWS))
    sex = raw["Patient Gender"].astype(object)
    refuse_values(sex, ~sex.isin(["M", "F"]), path, "M or F")
    table = pd.DataFrame(
        {
            "id": image,
            "patient": patient.astype(np.int64).astype(str),
            "study": image,
            "view": view,
            "sex": sex,
            "age": _ages(raw["Patient Age"], path),
            "follow_up": follow_up.astype(np.float64),
        }
    )
    return pd.concat([table, _labels(raw["Finding Labels"], path)], axis=1)


def _ages(given: pd.Series, path: Path) -> pd.Series:
    """Years of 58, ``058Y``, ``003M`` or ``010D``."""
    codes, distinct = pd.factorize(given.astype(object).fillna("").astype(str))
    parts = pd.Series(distinct).str.strip().str.extract(r"^(\d+(?:\.0)?)([YMWD]?)$")
    refuse_values(given, parts[0].isna().take(codes), path, "years, or a form such as 058Y")
    years = parts[0].astype(float) * parts[1].replace("", "Y").map(_YEARS)
    return pd.Series(years.where(years <= _OLDEST).to_numpy()[codes], given.index)


def _labels(given: pd.Series, path: Path) -> pd.DataFrame:
    codes, distinct = pd.factorize(given.astype(object).fillna("").astype(str))  # 836 combinations
    found = [text.split("|") for text in distinct]
    is_known = [names == [_HEALTHY] or set(names) <= set(LABELS) for names in found]
    wanted = f"{_HEALTHY}, or findings joined by |: {', '.join(LABELS)}"
    refuse_values(given, ~pd.Series(is_known).take(codes), path, wanted)
    present = np.array([[name in names for name in LABELS] for names in found], np.float32)
    columns = [LABEL_PREFIX + name for name in LABELS]
    return pd.DataFrame(present[codes], given.index, columns)
