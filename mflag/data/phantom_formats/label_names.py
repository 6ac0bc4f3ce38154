"""What generated findings are called in real label tables."""

import math

from mflag.data.phantom import Lesion, Study

# In the order of CheXpert's tables; MIMIC-CXR's are alphabetical.
CHEXPERT = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion",
    "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
    "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
# Nobody draws emphysema or hernias: these two are never positive.
NIH = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
    "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
    "Hernia",
)  # fmt: skip
# By finding, or by kind where kinds have names of their own; None is not labelled.
NIH_OF: dict[str, str | None] = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Pleural Effusion": "Effusion",
    "haze": "Infiltration",
    "reticular": "Fibrosis",
    "mass": "Mass",
    "nodule": "Nodule",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
    "Pleural Other": "Pleural_Thickening",
    "Enlarged Cardiomediastinum": None,
    "Fracture": None,
    "Support Devices": None,
}


def report_labels(study: Study, *, doubts: bool = True) -> dict[str, float | None]:
    """The fourteen as a labeller of the report gives them: 1, 0, -1 (hedged) or None (unsaid).

    Args:
        study: whose report.
        doubts: False for a labeller that takes a hedge for a statement.
    """
    said = {name: study.mentions[name] for name in CHEXPERT}
    values = {name: None if math.isnan(value) else value for name, value in said.items()}
    if not doubts:
        values = {name: abs(value) if value else value for name, value in values.items()}
    return values


def nih_name(lesion: Lesion) -> str | None:
    """What NIH's table calls a lesion; None for what it does not label."""
    return NIH_OF[lesion.kind if lesion.kind in NIH_OF else lesion.finding]


def nih_labels(study: Study) -> list[str]:
    """NIH's names of what was drawn, in NIH's order; empty is "No Finding"."""
    found = {nih_name(lesion) for lesion in study.lesions}
    return [name for name in NIH if name in found]
