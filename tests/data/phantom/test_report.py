import math
import re
from typing import Any

import pytest

from mflag.data.phantom import ATTRIBUTES, FINDINGS, generate_study
from mflag.data.phantom.draws import Draws, Purpose
from mflag.data.phantom.findings import PARENT, Condition, with_implied
from mflag.data.phantom.patient import locate, make_patient
from mflag.data.phantom.report import write_report

WORDS = {
    "Enlarged Cardiomediastinum": "mediastin",
    "Cardiomegaly": "cardiomegaly|enlarged heart|cardiac enlarge|enlargement of the cardiac ",
    "Lung Opacity": "opacit|infiltrate|scarring",
    "Lung Lesion": "nodul|mass|lesion",
    "Edema": "edema",
    "Consolidation": "consolidation",
    "Pneumonia": "pneumoni",
    "Atelectasis": "atelectasis",
    "Pneumothorax": "pneumothorax",
    "Pleural Effusion": "effusion|pleural fluid",
    "Pleural Other": "pleural (?:thicken|scar|plaque|cap|calcif)",
    "Fracture": "fracture",
}
SIDES = ("right", "left")
KINDS = {
    "Lung Opacity": ("haze", "reticular"),
    "Pleural Other": ("thickening", "apical_cap", "plaque"),
    "Fracture": ("rib", "clavicle"),
}
SIDED = sorted(set(WORDS) - {"Enlarged Cardiomediastinum", "Cardiomegaly", "Edema"})
NEVER = (
    r"width|\bwide\b|height|tall|shift|rotat|tilt|build|obes|slender|stout|\bthin\b|habitus|body|"
    r"lung volumes|inspirat|expansion|breast|collimat|exposure|wire|electrode"
)


def condition_of(finding: str, side: str, amount: float, **others: Any) -> list[Condition]:
    """Return the finding once for each of its kinds."""
    return [
        Condition(finding, side, "lower", amount, kind=kind, **others)
        for kind in KINDS.get(finding, ("",))
    ]


def texts(seed: int, count: int) -> list[str]:
    """Return reports without drawing their images."""
    written = []
    for index in range(count):
        number, visit = locate(seed, index)
        conditions = make_patient(seed, number).visits[visit]
        stream = Draws(seed, index, Purpose.REPORT)
        written.append(write_report(conditions, visit > 0, stream).text)
    return written


def draws(index: int) -> Draws:
    return Draws(0, index, Purpose.REPORT)


def report_on(*conditions: Condition, index: int = 0, is_follow_up: bool = False) -> str:
    return write_report(conditions, is_follow_up, draws(index)).text.lower()


def test_text_of_a_study_is_the_report_of_its_conditions():
    assert generate_study(4, 9).text == texts(4, 10)[9]


@pytest.mark.parametrize("finding", sorted(WORDS))
def test_a_finding_is_named_in_most_reports_and_left_out_of_some(finding):
    denied = re.compile(
        r"(?:\bno\b|negative for|is not widened)[^.]*\.|[^.]*(?:unremark|normal)[^.]*\."
    )
    for condition in condition_of(finding, "left", 0.6):
        reports = [denied.sub("", report_on(condition, index=i)) for i in range(300)]
        assert 265 <= sum(bool(re.search(WORDS[finding], text)) for text in reports) < 300


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("finding", SIDED)
def test_a_report_never_names_the_wrong_side(finding, side):
    wrong = re.compile(r"\bleft\b" if side == "right" else r"\bright\b")
    for condition in condition_of(finding, side, 0.6):
        assert not [t for i in range(200) if wrong.search(t := report_on(condition, index=i))]


@pytest.mark.parametrize(
    ("amount", "wrong"), [(0.1, "large|severe|marked|extensive"), (0.9, "small|tiny|minimal|mild")]
)
@pytest.mark.parametrize("finding", sorted(WORDS))
def test_a_report_never_names_the_wrong_severity(finding, amount, wrong):
    for condition in condition_of(finding, "left", amount):
        assert not [
            t for i in range(200) if re.search(rf"\b({wrong})", t := report_on(condition, index=i))
        ]


@pytest.mark.parametrize("finding", sorted(WORDS))
def test_an_absent_finding_is_never_stated(finding):
    told = r"(?:there (?:is|are)|shows|consistent with|possible|probable) (?:a |an )?[a-z -]*"
    stated = re.compile(rf"{told}(?:{WORDS[finding]})")
    denied = re.compile(r"(?:there is )?(?:\bno\b|negative for|not enlarged)[^.]*\.")
    assert not [t for i in range(300) if stated.search(denied.sub("", t := report_on(index=i)))]


def test_a_normal_report_denies_or_calls_clear():
    assert all(re.search("no |clear|normal|negative", report_on(index=i)) for i in range(300))


def test_some_statements_are_uncertain():
    condition = Condition("Consolidation", "left", "lower", 0.1)
    unsure = "may be|may represent|possible|cannot|suspected|suggest|probable"
    share = sum(bool(re.search(unsure, report_on(condition, index=i))) for i in range(300)) / 300
    assert 0.25 < share < 0.7


def test_only_a_follow_up_compares_with_the_past():
    condition = Condition("Lung Lesion", "left", "upper", 0.5, change=0.2)
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
    assert 30 < sum(len(text.split()) for text in written) / 3000 < 50


def test_every_finding_has_a_way_to_be_reported():
    assert set(WORDS) | {"Support Devices"} == set(FINDINGS)


@pytest.mark.parametrize(("amounts", "word"), [((0.1, 0.2), "nodule"), ((0.8, 0.9), "mass")])
def test_a_lesion_is_called_by_its_size(amounts, word):
    other = {"nodule": "mass", "mass": "nodule"}[word]
    pair = [Condition("Lung Lesion", s, "upper", a) for s, a in zip(SIDES, amounts, strict=True)]
    denied = re.compile(r"(?:\bno\b|negative for)[^.]*\.")
    reports = [denied.sub("", report_on(*pair, index=i)) for i in range(100)]
    assert not [text for text in reports if re.search(rf"\b{other}", text)]
    assert sum(word[:4] in text for text in reports) > 80


def test_a_size_in_a_report_is_the_size_of_the_lesion():
    condition = Condition("Lung Lesion", "left", "upper", 0.7)
    said = {
        s for i in range(200) for s in re.findall(r"([\d.]+) cm", report_on(condition, index=i))
    }
    assert said == {f"{condition.size_mm / 10:.1f}"}


@pytest.mark.parametrize("child", sorted(PARENT))
def test_what_a_finding_implies_is_never_denied(child):
    parents = with_implied([child])
    reports = [write_report(condition_of(child, "left", 0.5), False, draws(i)) for i in range(200)]
    assert not [r.text for r in reports for parent in parents if r.mentions[parent] == 0.0]


def test_no_report_calls_a_broken_bone_intact():
    broken = condition_of("Fracture", "left", 0.5)[:1]
    intact = re.compile("intact[.]|bones are|osseous|no acute fracture|no displaced")
    assert not [t for i in range(300) if intact.search(t := report_on(*broken, index=i))]


@pytest.mark.parametrize("finding", sorted(WORDS))
def test_mentions_say_what_the_text_says(finding):
    unsure = re.compile("may be|may represent|possible|cannot|suspected|suggest|probable")
    for index in range(150):
        report = write_report(condition_of(finding, "left", 0.1)[:1], False, draws(index))
        named = re.search(WORDS[finding], report.text.lower())
        mention = report.mentions[finding]
        assert (mention == 1.0 or mention == -1.0) == bool(named)
        assert mention != -1.0 or unsure.search(report.text.lower())
        if named and not unsure.search(report.text.lower()):
            assert mention == 1.0


@pytest.mark.parametrize("finding", [*sorted(WORDS), "Support Devices"])
def test_absent_findings_are_denied_in_some_reports_and_left_out_of_others(finding):
    said = [write_report((), False, draws(index)).mentions[finding] for index in range(300)]
    assert 0.02 < sum(value == 0.0 for value in said) / 300 < 0.95
    assert all(value == 0.0 or math.isnan(value) for value in said)


def test_no_finding_is_mentioned_where_nothing_but_devices_is_said():
    device = Condition("Support Devices", "left", "upper", 0.9, kind="pacemaker")
    assert write_report((device,), False, draws(0)).mentions["No Finding"] == 1.0
    stated = [write_report(condition_of("Edema", "both", 0.6), False, draws(i)) for i in range(100)]
    assert all(
        math.isnan(r.mentions["No Finding"]) == (r.mentions["Edema"] in (1.0, -1.0)) for r in stated
    )
