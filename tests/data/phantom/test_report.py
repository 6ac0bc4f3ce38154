import re

import pytest

from mflag.data.phantom import ATTRIBUTES, FINDINGS, generate_study
from mflag.data.phantom.draws import Draws, Purpose
from mflag.data.phantom.patient import Condition, locate, make_patient
from mflag.data.phantom.report import write_report

WORDS = {
    "cardiomegaly": "cardiomegaly|enlarge",
    "pleural_effusion": "effusion|pleural fluid",
    "consolidation": "consolidation|opacit|infiltrate",
    "nodule": "nodul",
    "pneumothorax": "pneumothorax",
    "atelectasis": "atelectasis",
    "edema": "edema",
}
SIDED = ("pleural_effusion", "consolidation", "nodule", "pneumothorax", "atelectasis")
NEVER = (
    r"width|wide|height|tall|shift|rotat|tilt|build|obes|slender|stout|\bthin\b|habitus|body|"
    r"lung volumes|inspirat|expansion|breast|collimat|exposure|wire|electrode"
)


def texts(seed: int, count: int) -> list[str]:
    """Return reports without drawing their images."""
    written = []
    for index in range(count):
        number, visit = locate(seed, index)
        conditions = make_patient(seed, number).visits[visit]
        written.append(write_report(conditions, visit > 0, Draws(seed, index, Purpose.REPORT)))
    return written


def report_on(*conditions: Condition, index: int = 0, is_follow_up: bool = False) -> str:
    return write_report(conditions, is_follow_up, Draws(0, index, Purpose.REPORT)).lower()


def test_text_of_a_study_is_the_report_of_its_conditions():
    assert generate_study(4, 9).text == texts(4, 10)[9]


@pytest.mark.parametrize("finding", sorted(WORDS))
def test_a_finding_is_named_in_most_reports_and_left_out_of_some(finding):
    condition = Condition(finding, "left", "lower", 0.6)
    named = sum(bool(re.search(WORDS[finding], report_on(condition, index=i))) for i in range(300))
    assert 270 <= named < 300


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("finding", SIDED)
def test_a_report_never_names_the_wrong_side(finding, side):
    condition = Condition(finding, side, "lower", 0.6)
    wrong = "left" if side == "right" else "right"
    assert not [
        t for i in range(200) if re.search(rf"\b{wrong}\b", t := report_on(condition, index=i))
    ]


@pytest.mark.parametrize(
    ("amount", "wrong"), [(0.1, "large|severe|marked|extensive"), (0.9, "small|tiny|minimal|mild")]
)
@pytest.mark.parametrize("finding", sorted(WORDS))
def test_a_report_never_names_the_wrong_severity(finding, amount, wrong):
    condition = Condition(finding, "left", "lower", amount)
    assert not [
        t for i in range(200) if re.search(rf"\b({wrong})", t := report_on(condition, index=i))
    ]


@pytest.mark.parametrize("finding", sorted(WORDS))
def test_an_absent_finding_is_never_stated(finding):
    told = r"(?:there (?:is|are)|shows|consistent with|possible|probable) (?:a |an )?[a-z -]*"
    stated = re.compile(rf"{told}(?:{WORDS[finding]})")
    denied = re.compile(r"(?:\bno\b|negative for|not enlarged)[^.]*\.")
    assert not [t for i in range(300) if stated.search(denied.sub("", t := report_on(index=i)))]


def test_a_normal_report_denies_or_calls_clear():
    assert all(re.search("no |clear|normal|negative", report_on(index=i)) for i in range(300))


def test_some_statements_are_uncertain():
    condition = Condition("consolidation", "left", "lower", 0.1)
    unsure = "may be|may represent|possible|cannot|suspected|suggest|probable"
    share = sum(bool(re.search(unsure, report_on(condition, index=i))) for i in range(300)) / 300
    assert 0.25 < share < 0.7


def test_only_a_follow_up_compares_with_the_past():
    condition = Condition("nodule", "left", "upper", 0.5, change=0.2)
    past = "prior|before|previous|since|stable|progressed"
    follow_up = [report_on(condition, index=i, is_follow_up=True) for i in range(100)]
    assert any(re.search(past, text) for text in follow_up)
    assert not any(re.search(past, report_on(condition, index=i)) for i in range(100))


def test_no_report_mentions_an_attribute():
    words = re.compile(NEVER + "|" + "|".join(ATTRIBUTES))
    assert not [found for text in texts(0, 500) if (found := words.search(text.lower()))]


def test_no_slot_of_a_template_stays_open():
    assert not [text for text in texts(1, 1000) if re.search(r"[{}]|  | [.,]|\.\.", text)]


def test_reports_differ_and_have_the_usual_length():
    written = texts(0, 3000)
    assert len(set(written)) > 2900
    assert 30 < sum(len(text.split()) for text in written) / 3000 < 45


def test_every_finding_has_a_way_to_be_reported():
    assert set(WORDS) | {"support_device"} == set(FINDINGS)
