"""Small folders in the layouts of RSNA and SIIM."""

from pathlib import Path

import numpy as np
import pandas as pd

from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.run_lengths import encode_mask
from tests.data.dicom_files import write_jpeg_dicom

SIZE = 64


def noise(number: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (size, size), np.uint8)


def header_of(number: int) -> dict:
    return {
        "PatientID": f"patient {number // 2}",
        "ViewPosition": ("PA", "AP")[number % 2],
        "PatientSex": ("M", "F")[number % 2],
        "PatientAge": f"{40 + number:03}Y",
    }


def write_rsna(root: Path, count: int = 20) -> Path:
    """Every third image has two boxes."""
    rows: list[tuple] = []
    for number in range(count):
        image = f"{number:04}-id"
        write_jpeg_dicom(
            root / "stage_2_train_images" / f"{image}.dcm", noise(number), **header_of(number)
        )
        if number % 3:
            rows.append((image, None, None, None, None, 0))
        else:
            rows += [(image, 8.0, 16.0, 20.0, 24.0, 1), (image, 40.0, 4.0, 24.0, 60.0, 1)]
    columns = ["patientId", "x", "y", "width", "height", "Target"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "stage_2_train_labels.csv", index=False)
    return root


def siim_mask(number: int, part: int = 0) -> np.ndarray:
    """The masks of an image: part 0 upper left, part 1 overlaps it."""
    mask = np.zeros((SIZE, SIZE), bool)
    top, left = 4 + number % 8 + 6 * part, 8 + 2 * part
    mask[top : top + 12, left : left + 20] = True
    return mask


def write_siim(root: Path, count: int = 40, blank: str = " ") -> Path:
    """Every third image has two masks that overlap; two images a patient in the headers."""
    rows = []
    for number in range(count):
        image = f"1.2.3.{number:04}"
        folder = root / "dicom-images-train" / f"9.{number}" / f"8.{number}"
        write_jpeg_dicom(folder / f"{image}.dcm", noise(number), **header_of(number))
        if number % 3:
            rows.append((image, f"{blank}-1"))
        else:
            rows += [(image, encode_mask(siim_mask(number, part))) for part in (0, 1)]
    table = pd.DataFrame(rows, columns=["ImageId", f"{blank}EncodedPixels"])
    table.to_csv(root / "train-rle.csv", index=False)
    return root


def edit_table(path: Path, row: int, column: str, value: str) -> None:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[row, column] = value
    table.to_csv(path, index=False)


def config_of(name: str, root: Path, **dataset: object) -> PrepareConfig:
    default = {"rsna": "mgca", "siim": "ids"}[name]
    return PrepareConfig(
        dataset=DatasetConfig(**{"name": name, "split": default, **dataset}),  # type: ignore[arg-type]
        root=str(root),
        out=str(root.parent / f"prepared-{name}"),
        workers=1,
    )
