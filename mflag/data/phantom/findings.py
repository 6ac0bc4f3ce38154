"""The 14 observations of CheXpert and MIMIC-CXR, how they imply each other, and their details."""

from collections.abc import Iterable
from dataclasses import dataclass

# Chance that a finding is drawn for its own sake; what implies it comes on top.
PREVALENCE = {
    "Enlarged Cardiomediastinum": 0.06,
    "Cardiomegaly": 0.16,
    "Lung Opacity": 0.08,
    "Lung Lesion": 0.09,
    "Edema": 0.11,
    "Consolidation": 0.08,
    "Pneumonia": 0.08,
    "Atelectasis": 0.15,
    "Pneumothorax": 0.10,
    "Pleural Effusion": 0.19,
    "Pleural Other": 0.06,
    "Fracture": 0.07,
    "Support Devices": 0.25,
}
FINDINGS: tuple[str, ...] = tuple(PREVALENCE)
NO_FINDING = "No Finding"
LABELS: tuple[str, ...] = (NO_FINDING, *FINDINGS)
# The hierarchy of CheXpert (Irvin et al., AAAI 2019, figure 1): who has the one has the other.
PARENT = {
    "Cardiomegaly": "Enlarged Cardiomediastinum",
    "Lung Lesion": "Lung Opacity",
    "Edema": "Lung Opacity",
    "Consolidation": "Lung Opacity",
    "Pneumonia": "Consolidation",
    "Atelectasis": "Lung Opacity",
}

PIXEL_MM = 1.4  # 256 pixels on a detector of 14 inches
MASS_MM = 30.0  # from here on a lesion is a mass, below it a nodule


@dataclass(frozen=True)
class Condition:
    """A finding at one place in one study.

    Attributes:
        finding: one of ``FINDINGS``.
        side: "left", "right", "both" or "midline", from the patient's point of view.
        zone: "upper", "middle", "lower", "perihilar", "cardiac" or "mediastinal".
        amount: how much of it there is, 0 to 1.
        change: difference of amount to the study before; None when it is new.
        kind: which device, opacity, pleural change or bone; empty where there is one kind only.
    """

    finding: str
    side: str
    zone: str
    amount: float
    change: float | None = None
    kind: str = ""

    @property
    def severity(self) -> str:
        """Return "mild", "moderate" or "severe"."""
        if self.amount < 0.4:
            return "mild"
        return "moderate" if self.amount < 0.75 else "severe"

    @property
    def size_mm(self) -> float:
        """Return the diameter of a lung lesion, millimetres; NaN for other findings."""
        if self.finding != "Lung Lesion":
            return float("nan")
        return 9.0 + 22.0 * self.amount + 28.0 * self.amount * self.amount

    @property
    def detail(self) -> str:
        """Return the kind; of a lung lesion, "nodule" or "mass", as its size is now."""
        if self.finding == "Lung Lesion":
            return "mass" if self.size_mm >= MASS_MM else "nodule"
        return self.kind

    @property
    def broken_ribs(self) -> int:
        """Return how many neighbouring ribs are broken: 1 to 4, or 0 where no rib is."""
        if self.kind != "rib":
            return 0
        return 1 + sum(self.amount > step for step in (0.35, 0.6, 0.8))


def with_implied(findings: Iterable[str]) -> set[str]:
    """Return the findings and all that they imply."""
    implied = set(findings)
    for finding in tuple(implied):
        while finding in PARENT:
            finding = PARENT[finding]
            implied.add(finding)
    return implied


def labels_of(drawn: Iterable[str]) -> dict[str, float]:
    """Return 1.0 or 0.0 for each of ``LABELS``, given the findings that were drawn.

    As in CheXpert, "No Finding" is 1 where nothing is present but, perhaps, support devices.
    """
    present = with_implied(drawn)
    if not present - {"Support Devices"}:
        present.add(NO_FINDING)
    return {label: float(label in present) for label in LABELS}
