"""The tables of MIMIC-CXR-JPG 2.0.0 and 2.1.0, merged by name to a row an image."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from mflag.config.prepare import DatasetConfig
from mflag.data.datasets.label_tables import (
    choose_split,
    find_table,
    read_label_table,
    refuse_twice,
    refuse_values,
    uncertain_labels,
)
from mflag.data.datasets.listed_splits import split_by_user_lists
from mflag.data.datasets.recognise import refuse_wrong_folder
from mflag.data.datasets.source import Rejection
from mflag.data.datasets.view_filter import select_views
from mflag.data.funnel import Funnel
from mflag.data.splits import canonical_splits, split_by_patient
from mflag.errors import InputError

LABELS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum",
    "Fracture", "Lung Lesion", "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other",
    "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
LABELERS = ("chexpert", "negbio")
SPLITS = ("official", "patient", "id_lists")
_VERSIONS = ("2.0.0", "2.1.0")  # release 2.1.0 keeps 2.0.0 in the names of its tables
_PATIENT, _STUDY, _IMAGE = "subject_id", "study_id", "dicom_id"
# A name that may stand in a path: nothing that leaves its folder.
_FILE_NAME = r"[0-9A-Za-z][0-9A-Za-z._-]*"
# Of the release: https://physionet.org/content/mimic-cxr-jpg; frontal ones before and after the
# labels are merged, as users of the bare tables count them.
_IMAGES, _FRONTAL, _LABELED = 377_110, 243_334, 243_324


@dataclass
class Plan:
    """The images that are left before any file is opened.

    Attributes:
        table: ``id``, ``patient``, ``study`` (all digits as in the release), ``view`` ("" unknown),
            ``split`` and ``label/NAME``; its index is the row of the metadata.
        funnel: the filters so far.
        rejected: rows that the tables of the release do not all know.
        files: the tables that were read.
        remarks: lines for people.
    """

    table: pd.DataFrame
    funnel: Funnel = field(default_factory=Funnel)
    rejected: list[Rejection] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def plan_images(root: Path, dataset: DatasetConfig) -> Plan:
    """Read the tables and choose the images by view, label table and split.

    Args:
        root: the folder with the tables.
        dataset: ``views``, ``labels``, ``split``, ``test_ids`` and ``valid_ids`` of it.

    Raises:
        InputError: a table is missing, of another release or contradicts itself; an unknown
            split or labeler; nothing is left.
    """
    scheme = choose_split(dataset, SPLITS)
    if dataset.labels is not None and dataset.labels not in LABELERS:
        raise InputError(
            f"dataset.labels is {dataset.labels!r}; choose {' or '.join(LABELERS)}, or null"
        )
    path = _find(root, "metadata")
    images = read_metadata(path)
    plan = Plan(images, files=[path])
    counts = f"{images['study'].nunique():,} studies, {images['patient'].nunique():,} patients"
    plan.funnel.add("image in the metadata", len(images), _IMAGES, counts)
    if scheme == "official":
        _merge_official_split(plan, _find(root, "split"))
    _select_views(plan, dataset.views)
    if dataset.labels is not None:
        _merge_labels(plan, _find(root, dataset.labels), dataset.views)
    if scheme == "patient":
        plan.table["split"] = split_by_patient(plan.table["patient"])
    if scheme == "id_lists":
        _split_by_lists(plan, images, dataset)
    return plan


def read_metadata(path: Path) -> pd.DataFrame:
    """Read the metadata table.

    Returns:
        A row an image: ``id``, ``patient``, ``study``, ``view`` ("" where the table has none).

    Raises:
        InputError: another release, an image twice, or a study of two patients.
    """
    wanted = [_IMAGE, _PATIENT, _STUDY, "ViewPosition"]
    raw = read_label_table(path, wanted, "the metadata of MIMIC-CXR-JPG")
    images = raw[_IMAGE].astype(str)
    is_name = images.str.fullmatch(_FILE_NAME)
    refuse_values(raw[_IMAGE], ~is_name, path, "five groups of eight hexadecimal digits")
    refuse_twice(images, path)
    table = pd.DataFrame(
        {
            "id": images,
            "patient": _numbers(raw[_PATIENT], path),
            "study": _numbers(raw[_STUDY], path),
            "view": raw["ViewPosition"].fillna("").astype(str).str.strip().str.upper(),
        }
    )
    owners = table[["study", "patient"]].drop_duplicates()
    shared = owners["study"][owners["study"].duplicated()]
    if len(shared):
        found = owners["patient"][owners["study"] == shared.iloc[0]]
        raise InputError(
            f"study {shared.iloc[0]} belongs to patients {' and '.join(found)} in {path} "
            f"({len(shared):,} such studies); download the table again"
        )
    return table


def read_labels(path: Path) -> pd.DataFrame:
    """Read the label table of either labeler.

    Returns:
        ``label/NAME`` float32 by study: 1, 0, -1 uncertain, NaN not mentioned; and ``patient``.

    Raises:
        InputError: another release, a study twice, or other values.
    """
    raw = read_label_table(path, [_PATIENT, _STUDY, *LABELS], "the labels of MIMIC-CXR-JPG")
    studies = _numbers(raw[_STUDY], path)
    twice = studies[studies.duplicated()]
    if len(twice):
        raise InputError(
            f"study {twice.iloc[0]} is in {path} more than once (row {twice.index[0] + 1}; "
            f"{len(twice):,} such rows); keep one row a study"
        )
    table = uncertain_labels(raw, LABELS, path).assign(patient=_numbers(raw[_PATIENT], path))
    return table.set_axis(studies.to_numpy())


def image_file(row: tuple[str, str, str]) -> str:
    """The path below ``files`` of an (image, patient, study)."""
    image, patient, study = row
    return f"p{patient[:2]}/p{patient}/s{study}/{image}.jpg"


def _find(root: Path, kind: str) -> Path:
    names = [f"mimic-cxr-{version}-{kind}.csv" for version in _VERSIONS]
    path = find_table(root, *names)
    return path or refuse_wrong_folder(root, "mimic_cxr", f"{names[0]}.gz (of MIMIC-CXR-JPG)")


def _numbers(column: pd.Series, path: Path) -> pd.Series:
    text = column.astype(str)
    refuse_values(column, ~text.str.fullmatch("[0-9]+"), path, "a number of eight digits")
    return text


def _merge_official_split(plan: Plan, path: Path) -> None:
    raw = read_label_table(path, [_IMAGE, "split"], "the split of MIMIC-CXR-JPG")
    refuse_twice(raw[_IMAGE], path)
    split = canonical_splits(raw["split"].astype(str), str(path)).set_axis(raw[_IMAGE])
    plan.files.append(path)
    plan.table = plan.table.assign(split=plan.table["id"].map(split))
    is_known = plan.table["split"].notna()
    _reject(plan, ~is_known, "not in the split table")
    plan.funnel.add("image in the split table", int(is_known.sum()))


def _merge_labels(plan: Plan, path: Path, views: list[str] | None) -> None:
    labels = read_labels(path)
    plan.files.append(path)
    table = plan.table
    owner = table["study"].map(labels["patient"])
    is_wrong = owner.notna() & (owner != table["patient"])
    if is_wrong.any():
        row = table[is_wrong].iloc[0]
        raise InputError(
            f"study {row['study']} is of patient {row['patient']} in the metadata, but of "
            f"{owner[is_wrong].iloc[0]} in {path}; take both tables from one release"
        )
    _reject(plan, owner.isna(), "study not in the label table")
    found = labels.drop(columns="patient").loc[plan.table["study"]]
    plan.table = pd.concat([plan.table, found.set_axis(plan.table.index)], axis=1)
    published = _LABELED if _is_frontal(views) else None
    plan.funnel.add("study in the label table", len(plan.table), published)


def _select_views(plan: Plan, views: list[str] | None) -> None:
    if views is None:
        return
    is_wanted, note = select_views(plan.table["view"], views, "the metadata")
    plan.table = plan.table[is_wanted]
    published = _FRONTAL if _is_frontal(views) else None
    plan.funnel.add(f"view {' or '.join(views)}", len(plan.table), published, note)


def _is_frontal(views: list[str] | None) -> bool:
    return {view.upper() for view in views or ()} == {"PA", "AP"}


def _split_by_lists(plan: Plan, images: pd.DataFrame, dataset: DatasetConfig) -> None:
    """Ids are looked for among all images, so a list of lateral views names no unknown ones."""
    is_kept = images.index.isin(plan.table.index)
    split, remarks = split_by_user_lists(
        images, pd.Series(is_kept, images.index), dataset, lambda line: line.removeprefix("p")
    )
    plan.remarks += remarks
    plan.table = plan.table.assign(split=split.loc[plan.table.index])


def _reject(plan: Plan, is_rejected: pd.Series, reason: str) -> None:
    names = plan.table.loc[is_rejected, ["id", "patient", "study"]]
    plan.rejected += [
        Rejection(row, f"files/{image_file(tuple(name))}", reason)
        for row, name in zip(names.index.tolist(), names.itertuples(index=False), strict=True)
    ]
    plan.table = plan.table[~is_rejected]
