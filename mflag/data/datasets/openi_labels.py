"""From the MeSH terms of Open-i to findings, by rules that stand here in full.

``major`` are the human coders' headings with their qualifiers (``opacity/lung/base/left``),
``automatic`` the words that the Medical Text Indexer found in the report (``atelectases``).
Names are CheXpert's where it has the finding, else NIH's; ``Granuloma`` is in neither.
"""

import re

import numpy as np
import pandas as pd

from mflag.data.datasets.openi_reports import Report
from mflag.data.manifest import LABEL_PREFIX

LABELERS = ("major", "automatic")
# A finding is present when one of the report's terms, in lower case, matches.
RULES = {
    "Atelectasis": r"atelecta[st]",
    "Cardiomegaly": r"^cardiomegaly|^cardiac shadow/enlarged|^enlarged heart",
    "Consolidation": r"^(lung )?consolidation",
    "Edema": r"^((interstitial |alveolar )?pulmonary |alveolar )?edemas?\b",
    "Emphysema": r"^(pulmonary |bullous |centrilobular )?emphysemas?\b",  # not that of the skin
    "Fibrosis": r"^(pulmonary |interstitial |diffuse |chronic )?fibros[ei]s\b",  # not cystic
    "Fracture": r"\bfractures?\b",
    "Granuloma": r"granuloma",
    "Hernia": r"\bhernias?\b",
    "Infiltration": r"^infiltrates?\b",
    "Lung Lesion": r"^(nodule|mass)\b|pulmonary nodule|^lung (cancer|carcinoma|neoplasms)",
    "Lung Opacity": (
        r"^opacity(?!/(heart|mediastinum|pleura|pleural sinus|ribs|spine|thorax|abdomen))"
        r"|^airspace disease|^infiltrates?\b|^(lung )?consolidation"
    ),
    "Mass": r"^mass\b",
    "No Finding": r"^normal$",
    "Nodule": r"^nodule\b|pulmonary nodule",
    "Pleural Effusion": r"pleural effusion|^effusion$|^pleural fluid|^(hydro|hemo)pneumothorax",
    "Pleural Other": r"^thickening/pleura|^pleural (thickening|plaque|calcification)",
    "Pneumonia": r"\bpneumonias?\b",
    "Pneumothorax": r"pneumothorax",
    "Support Devices": (
        r"catheter|^(implanted )?medical device|^tube, inserted|^(chest|nasogastric) tube"
        r"|^stents?\b|pacemaker|^picc|cardiac (device|monitor|pacing)|heart valve prosthesis"
    ),
}
_NOT_CODED = "no indexing"  # the coders' own word for a report that they left alone


def label_columns(reports: list[Report], labeler: str) -> pd.DataFrame:
    """Return labels of reports.

    Args:
        reports: n of them.
        labeler: ``major`` or ``automatic``.

    Returns:
        (n, k) float32 columns ``label/NAME``: 1 present, 0 absent, NaN where nobody looked: no
        heading or ``No Indexing`` (major), no findings and no impression (automatic). The
        automatic terms have no word for a normal chest, so no column ``No Finding``.
    """
    names = [name for name in RULES if labeler == "major" or name != "No Finding"]
    patterns = [re.compile(RULES[name]) for name in names]
    values = np.zeros((len(reports), len(names)), np.float32)
    for row, report in enumerate(reports):
        terms = report.major if labeler == "major" else report.automatic
        if not _is_looked_at(report, labeler):
            values[row] = np.nan
            continue
        values[row] = [any(pattern.search(term) for term in terms) for pattern in patterns]
    return pd.DataFrame(values, columns=[LABEL_PREFIX + name for name in names])


def _is_looked_at(report: Report, labeler: str) -> bool:
    if labeler == "major":
        return bool(report.major) and _NOT_CODED not in report.major
    return bool({"findings", "impression"} & report.sections.keys())
