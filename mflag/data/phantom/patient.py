"""Generated patients: what stays the same over their studies, and how findings come and go."""

from dataclasses import dataclass, replace
from functools import lru_cache

from mflag.data.phantom.draws import Draws, Purpose

PREVALENCE = {
    "cardiomegaly": 0.19,
    "pleural_effusion": 0.20,
    "consolidation": 0.18,
    "nodule": 0.12,
    "pneumothorax": 0.12,
    "atelectasis": 0.18,
    "support_device": 0.24,
    "edema": 0.14,
}
FINDINGS: tuple[str, ...] = tuple(PREVALENCE)
DEVICES = ("tracheal_tube", "central_line", "pacemaker", "chest_tube", "gastric_tube")
MAX_VISITS = 3
# Six patients share twelve consecutive studies, so whose a study is never depends on their number.
VISITS_IN_BLOCK = (1, 1, 2, 2, 3, 3)
KEPT = 0.7  # chance that a finding is still there in the next study


@dataclass(frozen=True)
class Condition:
    """A finding at one place in one study.

    Attributes:
        finding: one of ``FINDINGS``.
        side: "left", "right", "both" or "midline", from the patient's point of view.
        zone: "upper", "middle", "lower", "perihilar" or "cardiac".
        amount: how much of it there is, 0 to 1.
        change: difference of amount to the study before; None when it is new.
        kind: which device; empty for other findings.
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


@dataclass(frozen=True)
class Patient:
    """What a patient's studies share.

    Attributes:
        number: from 0 up, over the whole series.
        build: thickness of soft tissue, about -1 (slight) to 1 (stout).
        width: half the inner width of the rib cage, pixels.
        height: apex of the lung to the dome of the diaphragm, pixels.
        heart: width of the heart over that of the chest, when not enlarged.
        breast: strength of breast shadows, 0 for none.
        visits: the conditions of study 0, 1 and 2.
    """

    number: int
    build: float
    width: float
    height: float
    heart: float
    breast: float
    visits: tuple[tuple[Condition, ...], ...]


def locate(seed: int, index: int) -> tuple[int, int]:
    """Return the number of a study's patient, and which of their studies it is (0, 1 or 2)."""
    block, position = divmod(index, sum(VISITS_IN_BLOCK))
    visits = Draws(seed, block, Purpose.LAYOUT).shuffled(VISITS_IN_BLOCK)
    patient = 0
    while position >= visits[patient]:
        position -= visits[patient]
        patient += 1
    return block * len(VISITS_IN_BLOCK) + patient, position


@lru_cache(maxsize=16)
def make_patient(seed: int, number: int) -> Patient:
    """Return patient ``number`` of the series with this seed."""
    draws = Draws(seed, number, Purpose.PATIENT)
    build = max(-1.3, min(1.3, draws.normal(0.0, 0.55)))
    patient = Patient(
        number=number,
        build=build,
        width=draws.normal(100.0, 4.5),
        height=draws.normal(143.0, 8.0),
        heart=min(0.495, draws.normal(0.45, 0.028) + 0.012 * build),
        breast=draws.uniform(0.4, 1.0) if draws.chance(0.45) else 0.0,
        visits=(),
    )
    frailty = draws.pick((0.15, 1.13), (0.08, 0.92))
    visits = [_first_visit(draws, frailty)]
    while len(visits) < MAX_VISITS:
        visits.append(_next_visit(draws, visits[-1], frailty))
    return replace(patient, visits=tuple(visits))


def _first_visit(draws: Draws, frailty: float) -> tuple[Condition, ...]:
    conditions: list[Condition] = []
    for finding, prevalence in PREVALENCE.items():
        present = {condition.finding for condition in conditions}
        if draws.chance(prevalence * frailty * _company(finding, present)):
            conditions += _begin(draws, finding)
    return tuple(conditions)


def _next_visit(
    draws: Draws, before: tuple[Condition, ...], frailty: float
) -> tuple[Condition, ...]:
    conditions: list[Condition] = []
    for finding, prevalence in PREVALENCE.items():
        old = [condition for condition in before if condition.finding == finding]
        if old and draws.chance(KEPT):
            conditions += [_progress(draws, condition) for condition in old]
            continue
        present = {condition.finding for condition in conditions}
        # As many begin as end, so prevalence is the same in every study.
        begins = (1.0 - KEPT) * prevalence / (1.0 - prevalence)
        if not old and draws.chance(begins * frailty * _company(finding, present)):
            conditions += _begin(draws, finding)
    return tuple(conditions)


def _company(finding: str, present: set[str]) -> float:
    """Return how much likelier a finding is, given those drawn before it."""
    if finding == "edema":
        return 2.0 if "cardiomegaly" in present else 0.8
    if finding == "support_device":
        return 1.7 if "pneumothorax" in present else 0.95
    if finding == "pleural_effusion":
        return 1.4 if "cardiomegaly" in present else 0.9
    return 1.0


def _progress(draws: Draws, old: Condition) -> Condition:
    if old.finding == "support_device":
        return replace(old, change=0.0)
    amount = max(0.0, min(0.999, old.amount + draws.normal(0.0, 0.2)))
    return replace(old, amount=amount, change=amount - old.amount)


def _begin(draws: Draws, finding: str) -> list[Condition]:
    """Return a new finding: one condition a place."""
    amount = draws.uniform()
    if finding == "support_device":
        kinds = draws.shuffled(DEVICES)[: draws.pick((1, 2, 3), (0.6, 0.3, 0.1))]
        return [_device(draws, kind) for kind in kinds]
    if finding == "edema":
        return [Condition(finding, "both", "perihilar", amount)]
    if finding == "cardiomegaly":
        return [Condition(finding, "midline", "cardiac", amount)]
    sides = _sides(draws, finding)
    zones = {
        "pleural_effusion": ("lower",),
        "pneumothorax": ("upper",),
        "atelectasis": ("lower", "lower", "lower", "middle"),
        "consolidation": ("upper", "middle", "middle", "lower", "lower", "lower"),
        "nodule": ("upper", "middle", "lower"),
    }[finding]
    zone = draws.pick(zones)
    return [
        Condition(finding, side, zone, max(0.0, min(0.999, amount + draws.uniform(-0.12, 0.12))))
        for side in sides
    ]


def _sides(draws: Draws, finding: str) -> tuple[str, ...]:
    both = {"pleural_effusion": 0.28, "consolidation": 0.18, "atelectasis": 0.2, "nodule": 0.08}
    if draws.chance(both.get(finding, 0.0)):
        return ("right", "left")
    return (draws.pick(("right", "left"), (0.53, 0.47)),)


def _device(draws: Draws, kind: str) -> Condition:
    # A device has no severity: its amount says how conspicuous it is.
    zone, amount, sides = {
        "tracheal_tube": ("upper", 0.5, ("midline",)),
        "central_line": ("upper", 0.2, ("right", "right", "left")),
        "pacemaker": ("upper", 0.9, ("left", "left", "left", "right")),
        "chest_tube": ("middle", 0.5, ("left", "right")),
        "gastric_tube": ("middle", 0.5, ("midline",)),
    }[kind]
    return Condition("support_device", draws.pick(sides), zone, amount, kind=kind)
