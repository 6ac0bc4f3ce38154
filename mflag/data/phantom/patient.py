"""Generated patients: what stays the same over their studies, and how findings come and go."""

from dataclasses import dataclass, replace
from functools import lru_cache

from mflag.data.phantom.draws import Draws, Purpose
from mflag.data.phantom.findings import PREVALENCE, Condition
from mflag.data.phantom.onset import begin

MAX_VISITS = 3
# Six patients share twelve consecutive studies, so whose a study is never depends on their number.
VISITS_IN_BLOCK = (1, 1, 2, 2, 3, 3)
KEPT = 0.7  # chance that a finding is still there in the next study
# Factor of the chance with and without another finding.
_COMPANY = {
    "Edema": (2.0, 0.8, "Cardiomegaly"),
    "Pleural Effusion": (1.4, 0.9, "Cardiomegaly"),
    "Fracture": (1.8, 0.92, "Pneumothorax"),
    "Support Devices": (1.7, 0.95, "Pneumothorax"),
}


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
            conditions += begin(draws, finding)
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
            conditions += begin(draws, finding)
    return tuple(conditions)


def _company(finding: str, present: set[str]) -> float:
    """Return how much likelier a finding is, given those drawn before it."""
    likelier, otherwise, companion = _COMPANY.get(finding, (1.0, 1.0, ""))
    return likelier if companion in present else otherwise


def _progress(draws: Draws, old: Condition) -> Condition:
    if old.finding in ("Support Devices", "Fracture"):
        return replace(old, change=0.0)
    amount = max(0.0, min(0.999, old.amount + draws.normal(0.0, 0.2)))
    return replace(old, amount=amount, change=amount - old.amount)
