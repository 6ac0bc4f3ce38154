"""CheXpert's train.csv and valid.csv, of v1.0 and v1.0-small."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mflag.data.datasets.label_tables import (
    find_table,
    read_label_table,
    refuse_twice,
    refuse_values,
    uncertain_labels,
)
from mflag.data.datasets.recognise import refuse_wrong_folder
from mflag.errors import InputError

LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion",
    "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
    "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
LATERAL = "Lateral"
VIEWS = ("PA", "AP", "LL", "RL", LATERAL)
_VIEW_COLUMNS = ("Frontal/Lateral", "AP/PA")
_COLUMNS = ("Path", "Sex", "Age", *_VIEW_COLUMNS, *LABELS)
_SEXES = {"Male": "M", "Female": "F", "Unknown": ""}
_PATH = r"(?:^|/)(?P<id>(?:train|valid)/(?P<patient>patient\d+)/(?P<study>study\d+)/[^/]+\.jpg)$"


def find_folder(root: Path) -> Path:
    """Return the folder of train.csv: ``root``, or the only folder in it that has one.

    Raises:
        InputError: there is none, or there are several.
    """
    if find_table(root, "train.csv"):
        return root
    below = sorted(path for path in root.iterdir() if path.is_dir() and _is_release(path))
    if not below:
        refuse_wrong_folder(root, "chexpert", "train.csv")
    if len(below) > 1:
        names = ", ".join(path.name for path in below)
        raise InputError(f"root {str(root)!r} holds several releases ({names}); give one of them")
    return below[0]


def read_chexpert_table(path: Path) -> pd.DataFrame:
    """Read train.csv or valid.csv.

    Args:
        path: the file; also packed by gzip.

    Returns:
        A row an image: ``id`` (``train/patient00001/study1/view1_frontal.jpg``), ``patient``
        (``patient00001``), ``study`` (``patient00001/study1``), ``view`` (AP, PA, LL, RL,
        Lateral), ``sex``, ``age`` (years), and ``label/NAME``: 1, 0, -1 uncertain, NaN blank.

    Raises:
        InputError: another release, a value that no release has, or an image twice.
    """
    raw = read_label_table(path, _COLUMNS, "CheXpert v1.0 or v1.0-small")
    parts = _split_paths(raw["Path"])
    wanted_path = "RELEASE/train/patient00001/study1/view1_frontal.jpg"
    refuse_values(raw["Path"], parts["id"].isna(), path, wanted_path)
    refuse_twice(parts["id"], path)
    sex = raw["Sex"].map(_SEXES)
    refuse_values(raw["Sex"], sex.isna(), path, ", ".join(_SEXES))
    age = pd.to_numeric(raw["Age"], errors="coerce")
    refuse_values(raw["Age"], age.isna(), path, "an age in years")
    table = pd.DataFrame(
        {
            "id": parts["id"],
            "patient": parts["patient"],
            "study": parts["patient"] + "/" + parts["study"],
            "view": _views(raw, path),
            "sex": sex,
            "age": age.astype(float),
        }
    )
    return pd.concat([table, uncertain_labels(raw, LABELS, path)], axis=1)


def _is_release(folder: Path) -> bool:
    return find_table(folder, "train.csv") is not None


def _split_paths(paths: pd.Series) -> pd.DataFrame:
    """Columns id, patient and study; missing where a path has another form."""
    found = pc.extract_regex(pa.array(paths.astype(str), pa.string()), _PATH)  # 4 x pandas' speed
    return pd.DataFrame(
        {
            name: found.field(name).to_pandas().where(found.is_valid().to_pandas())
            for name in ("id", "patient", "study")
        }
    )


def _views(raw: pd.DataFrame, path: Path) -> pd.Series:
    side, projection = (raw[name] for name in _VIEW_COLUMNS)
    refuse_values(side, ~side.isin(["Frontal", LATERAL]), path, "Frontal or Lateral")
    view = projection.astype(object).fillna("").where(side == "Frontal", LATERAL)
    refuse_values(projection, ~view.isin([*VIEWS, ""]), path, "AP, PA, LL, RL or blank")
    return view
