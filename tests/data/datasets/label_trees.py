"""Small invented trees in the layouts of CheXpert and NIH ChestX-ray14."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.datasets import chexpert_table

CHEXPERT_HEADER = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *chexpert_table.LABELS]
NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"


def write_image(path: Path, number: int, side: int = 32) -> None:
    """Noise that differs by number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (side, side), np.uint8)
    Image.fromarray(pixels).save(path)


def chexpert_row(place: str, view: str = "AP", **labels: object) -> dict[str, object]:
    """A row of train.csv; laterals have no projection."""
    side = "Lateral" if view == "Lateral" else "Frontal"
    return {
        "Path": f"CheXpert-v1.0-small/{place}/study1/view1_{side.lower()}.jpg",
        "Sex": "Female",
        "Age": 60,
        "Frontal/Lateral": side,
        "AP/PA": "" if side == "Lateral" else view,
        **labels,
    }


def write_chexpert_table(path: Path, rows: list[dict[str, object]]) -> None:
    """As the real one: blank where nothing is said."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=CHEXPERT_HEADER).to_csv(path, index=False)


def make_chexpert(root: Path, patients: int = 10) -> PrepareConfig:
    """Two frontal images and a lateral a patient in train.csv, three patients in valid.csv."""
    train, valid = [], []
    for number in range(1, patients + 1):
        for study, view in enumerate(("AP", "PA", "Lateral"), 1):
            row = chexpert_row(f"train/patient{number:05}", view, Edema=1.0)
            row["Path"] = str(row["Path"]).replace("study1", f"study{study}")
            train.append(row)
    for number in range(64541, 64544):
        valid.append(chexpert_row(f"valid/patient{number}", "AP", Edema=0.0))
    for number, row in enumerate(train + valid):
        write_image(root / str(row["Path"]).partition("/")[2], number)
    write_chexpert_table(root / "train.csv", train)
    write_chexpert_table(root / "valid.csv", valid)
    dataset = DatasetConfig(name="chexpert", views=["PA", "AP"], split="patient")
    out = str(root.parent / "prepared")
    return PrepareConfig(dataset=dataset, root=str(root), out=out, workers=1)


def nih_row(image: str, findings: str = "No Finding", age: str = "58") -> str:
    """A row of Data_Entry_2017_v2020.csv; the patient and visit are the name's."""
    patient, visit = image.removesuffix(".png").split("_")
    return f"{image},{findings},{int(visit)},{int(patient)},{age},M,PA,2682,2749,0.143,0.143"


def write_lines(path: Path, lines: list[str]) -> None:
    """The last line without newline, as the official lists end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


def make_nih(root: Path, patients: int = 10) -> PrepareConfig:
    """Two images a patient, spread over three folders; the last three patients are test."""
    names = [f"{number:08}_{visit:03}.png" for number in range(1, patients + 1) for visit in (0, 1)]
    for number, name in enumerate(names):
        write_image(root / f"images_{number % 3 + 1:03}" / "images" / name, number)
    findings = ["No Finding", "Infiltration|Mass"]
    rows = [nih_row(name, findings[number % 2]) for number, name in enumerate(names)]
    write_lines(root / "Data_Entry_2017_v2020.csv", [NIH_HEADER, *rows])
    write_lines(root / "train_val_list.txt", names[:-6])
    write_lines(root / "test_list.txt", names[-6:])
    boxes = [f"{names[1]},Infiltrate,512.0,256.0,128.5,64.0", f"{names[1]},Mass,0,0,1024,1024"]
    write_lines(root / "BBox_List_2017.csv", [BOX_HEADER, *boxes])
    dataset = DatasetConfig(name="nih", views=["PA", "AP"], split="official")
    out = str(root.parent / "prepared")
    return PrepareConfig(dataset=dataset, root=str(root), out=out, workers=1)
