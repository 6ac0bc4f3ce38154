"""Which dataset a folder looks like, so that a wrong ``root`` is named instead of only refused."""

from itertools import islice
from pathlib import Path
from typing import NoReturn

from mflag.errors import InputError

# Names that no other dataset has, as it is downloaded or unpacked; most telling first.
_MARKERS = {
    "mimic_cxr": ("mimic-cxr-2*.csv*", "mimic-cxr-reports*", "files/p1[0-9]"),
    "chexpert": ("train/patient[0-9]*", "CheXpert-v1.0*", "valid/patient[0-9]*"),
    "nih": ("Data_Entry_2017*", "BBox_List_2017*", "train_val_list*.txt", "images_0[01][0-9]*"),
    "rsna": ("stage_2_train_labels*", "stage_2_detailed_class_info*", "stage_2_train_images*"),
    "siim": ("*train-rle*.csv*", "dicom-images-train*", "dicom-images-test*"),
    "openi": ("NLMCXR_*", "ecgen-radiology*", "indiana_reports*"),
}
DATASETS = tuple(_MARKERS)
_FOLDERS_SEARCHED = 100


def looks_like(root: Path) -> str | None:
    """Tell the dataset whose files a folder holds.

    Args:
        root: a folder; nothing below its second level is looked at.

    Returns:
        One of ``DATASETS``; None where no file of them, or files of several, are there.
    """
    found = [name for name, patterns in _MARKERS.items() if _marker(root, patterns)]
    return found[0] if len(found) == 1 else None


def refuse_wrong_folder(root: Path, dataset: str, missing: str) -> NoReturn:
    """Refuse a root without a file that the dataset needs, and say what would be right.

    Args:
        root: what the user gave.
        dataset: what the user chose, one of ``DATASETS``.
        missing: the file or folder that was looked for, as a user would name it.

    Raises:
        InputError: always. It names the missing file, then the dataset that the folder looks
            like, or the folder near it that looks like the dataset chosen.
    """
    if not root.is_dir():
        raise InputError(f"root is {str(root)!r}, which is no folder; give the folder of {dataset}")
    start = f"{missing} is missing in root {str(root)!r}"
    other = looks_like(root)
    if other not in (None, dataset):
        marker = _marker(root, _MARKERS[str(other)])
        raise InputError(
            f"{start}, which looks like {other} (it has {marker}); "
            f"choose dataset={other}, or give the folder of {dataset}"
        )
    near = next((folder for folder in _neighbours(root) if looks_like(folder) == dataset), None)
    if near is not None:
        marker = _marker(near, _MARKERS[dataset])
        raise InputError(f"{start}, but {str(near)!r} has {marker}; set root={near}")
    if other == dataset:
        raise InputError(f"{start}, which has other files of {dataset}; download that one too")
    names = sorted(path.name for path in islice(root.iterdir(), _FOLDERS_SEARCHED))
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "nothing"
    raise InputError(f"{start} (it has {shown}); give the folder of {dataset} as it is downloaded")


def _marker(root: Path, patterns: tuple[str, ...]) -> str | None:
    for pattern in patterns:
        try:
            found = next(root.glob(pattern), None)
        except OSError:  # a folder that may not be read holds no evidence
            continue
        if found is not None:
            return found.relative_to(root).as_posix()
    return None


def _neighbours(root: Path) -> list[Path]:
    """The folder above and the folders below: a root is often one level off."""
    try:
        below = [path for path in islice(root.iterdir(), _FOLDERS_SEARCHED) if path.is_dir()]
    except OSError:
        below = []
    return [root.absolute().parent, *sorted(below)]
