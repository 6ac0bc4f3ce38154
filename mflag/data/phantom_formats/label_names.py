"""What generated findings are called in real label tables, and what a labeller reads."""

import re

from mflag.data.phantom import Lesion, Study
from mflag.data.phantom_formats.report_text import sections

CHEXPERT = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion",
    "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
    "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
NIH = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
    "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
    "Hernia",
)  # fmt: skip
# A finding implies every name of its row, as CheXpert's labeller lets an opacity follow from it.
CHEXPERT_OF: dict[str, tuple[str, ...]] = {
    "cardiomegaly": ("Cardiomegaly",),
    "pleural_effusion": ("Pleural Effusion",),
    "consolidation": ("Consolidation", "Lung Opacity"),
    "nodule": ("Lung Lesion", "Lung Opacity"),
    "pneumothorax": ("Pneumothorax",),
    "atelectasis": ("Atelectasis", "Lung Opacity"),
    "support_device": ("Support Devices",),
    "edema": ("Edema", "Lung Opacity"),
}
_NIH_OF = {
    "cardiomegaly": "Cardiomegaly",
    "pleural_effusion": "Effusion",
    "pneumothorax": "Pneumothorax",
    "atelectasis": "Atelectasis",
    "edema": "Edema",
}
# What is called so in reports, by finding: enough to see whether it is hedged or denied.
_WORDS: dict[str, str] = {
    "cardiomegaly": r"cardiomegaly|cardiac|heart",
    "pleural_effusion": r"effusion|pleural fluid",
    "consolidation": r"consolidation|airspace opacit|focal opacity|opacities in both|infiltrate",
    "nodule": r"nodul",
    "pneumothorax": r"pneumothorax",
    "atelectasis": r"atelectasis|volume loss",
    "support_device": r"tube|catheter|line|pacemaker|drain|device|intubated",
    "edema": r"edema|congestion|haze",
}
_DENIED = re.compile(r"\b(no|negative for|normal|not enlarged|within normal limits)\b", re.I)
_HEDGED = re.compile(
    r"\b(may|possible|cannot|suspected|suggest|probable|questionable|likely)\b", re.I
)


def chexpert_truth(study: Study) -> dict[str, float]:
    """All fourteen of CheXpert as 1 or 0: what was drawn."""
    drawn = {
        name: float(any(study.labels[f] for f in study.labels if name in CHEXPERT_OF[f]))
        for name in CHEXPERT[1:]
    }
    diseases = [value for name, value in drawn.items() if name != "Support Devices"]
    return {"No Finding": float(not any(diseases)), **drawn}


def chexpert_report_labels(study: Study, *, negbio: bool = False) -> dict[str, float | None]:
    """All fourteen as a labeller of the report gives them: 1, 0, -1 (hedged) or None (unsaid).

    Drawn and only said with a hedge is -1; drawn otherwise 1, even when the report leaves it out;
    absent and denied is 0, absent and unsaid None. "No Finding" is 1 or None.

    Args:
        study: whose report.
        negbio: the other labeller: it weighs all sentences alike, where CheXpert's takes the
            impression's word first.
    """
    impression = _sentences(sections(study.text).get("impression", ""))
    sentences = _sentences(study.text)
    values: dict[str, float | None] = dict.fromkeys(CHEXPERT)
    strength = {None: 0, 0.0: 1, -1.0: 2, 1.0: 3}
    for finding, is_drawn in study.labels.items():
        said = _about(finding, sentences)
        weighed = said if negbio else _about(finding, impression) or said
        value = _drawn(weighed) if is_drawn else _absent(said)
        names = CHEXPERT_OF[finding]
        for name in names if is_drawn else names[:1]:  # who denies edema leaves other opacities
            values[name] = max(values[name], value, key=strength.__getitem__)
    values["No Finding"] = 1.0 if chexpert_truth(study)["No Finding"] else None
    return values


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.;:])\s+", text)


def _about(finding: str, sentences: list[str]) -> list[str]:
    return [s for s in sentences if re.search(_WORDS[finding], s, re.I)]


def _drawn(said: list[str]) -> float:
    return -1.0 if said and all(_HEDGED.search(sentence) for sentence in said) else 1.0


def _absent(said: list[str]) -> float | None:
    return 0.0 if any(_DENIED.search(sentence) for sentence in said) else None


def nih_name(lesion: Lesion) -> str | None:
    """What NIH's table calls a lesion; None for what it does not label.

    The size decides between Nodule and Mass, the severity between Infiltration (mild),
    Consolidation and Pneumonia (severe).
    """
    if lesion.finding == "nodule":
        return "Mass" if lesion.severity == "severe" else "Nodule"
    if lesion.finding == "consolidation":
        names = {"mild": "Infiltration", "moderate": "Consolidation", "severe": "Pneumonia"}
        return names[lesion.severity]
    return _NIH_OF.get(lesion.finding)


def nih_labels(study: Study) -> list[str]:
    """NIH's names of what was drawn, in NIH's order; empty is "No Finding"."""
    found = {nih_name(lesion) for lesion in study.lesions}
    return [name for name in NIH if name in found]
