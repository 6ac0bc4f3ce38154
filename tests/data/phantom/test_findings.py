"""Each finding against the same study without it."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import mflag.data.phantom.study as study_module
from mflag.data.phantom import FINDINGS, LABELS, Study, generate_study, with_implied
from mflag.data.phantom.findings import PARENT, Condition, labels_of
from mflag.data.phantom.patient import make_patient

INDICES = (1, 4, 8, 12, 25)
CASES = {
    "mediastinum": Condition("Enlarged Cardiomediastinum", "midline", "mediastinal", 0.5),
    "heart": Condition("Cardiomegaly", "midline", "cardiac", 0.5),
    "haze": Condition("Lung Opacity", "right", "lower", 0.5, kind="haze"),
    "reticular": Condition("Lung Opacity", "left", "lower", 0.5, kind="reticular"),
    "lesion": Condition("Lung Lesion", "right", "upper", 0.5),
    "edema": Condition("Edema", "both", "perihilar", 0.5),
    "consolidation": Condition("Consolidation", "left", "middle", 0.5),
    "pneumonia above": Condition("Pneumonia", "right", "upper", 0.5),
    "pneumonia below": Condition("Pneumonia", "left", "lower", 0.5),
    "atelectasis": Condition("Atelectasis", "right", "middle", 0.5),
    "pneumothorax": Condition("Pneumothorax", "left", "upper", 0.5),
    "effusion": Condition("Pleural Effusion", "right", "lower", 0.5),
    "thickening": Condition("Pleural Other", "right", "lower", 0.5, kind="thickening"),
    "apical cap": Condition("Pleural Other", "left", "upper", 0.5, kind="apical_cap"),
    "plaque": Condition("Pleural Other", "left", "middle", 0.5, kind="plaque"),
    "rib": Condition("Fracture", "left", "middle", 0.5, kind="rib"),
    "clavicle": Condition("Fracture", "right", "upper", 0.5, kind="clavicle"),
    "device": Condition("Support Devices", "left", "upper", 0.9, kind="pacemaker"),
}


@cache
def drawn(index: int, *conditions: Condition) -> Study:
    """Return study ``index`` of seed 0 with these conditions in place of its own."""
    patient = replace(make_patient(0, 0), visits=(conditions,) * 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_module, "make_patient", lambda *_: patient)
        return generate_study(0, index)


def change(case: str, index: int, amount: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (256, 256) what a finding does to the grey values, and its mask."""
    shown = drawn(index, replace(CASES[case], amount=amount))
    return shown.image.astype(float) - drawn(index).image, shown.lesions[0].mask


@pytest.mark.parametrize("case", CASES)
def test_a_finding_changes_the_image_inside_its_mask(case):
    for index in INDICES:
        difference, mask = change(case, index, 0.5)
        inside, outside = np.abs(difference)[mask].mean(), np.abs(difference)[~mask].mean()
        assert inside > 4.0
        assert inside > 4.0 * outside


@pytest.mark.parametrize("case", CASES)
def test_a_finding_is_seen_at_64_pixels(case):
    small = [
        change(case, index, 0.5)[0].reshape(64, 4, 64, 4).mean(axis=(1, 3)) for index in INDICES
    ]
    assert min(np.abs(difference).max() for difference in small) > 10.0


@pytest.mark.parametrize("case", sorted(set(CASES) - {"pneumothorax", "clavicle"}))
def test_a_finding_makes_its_place_brighter(case):
    assert min(d[mask].mean() for d, mask in (change(case, i, 0.5) for i in INDICES)) > 0.0


def test_a_pneumothorax_makes_its_place_darker():
    changes = (change("pneumothorax", index, 0.5) for index in INDICES)
    assert max(difference[mask].mean() for difference, mask in changes) < 0.0


@pytest.mark.parametrize("case", sorted(set(CASES) - {"clavicle", "device"}))
def test_the_more_severe_the_more_of_the_image_changes(case):
    total = {
        amount: np.mean([np.abs(change(case, index, amount)[0]).sum() for index in INDICES])
        for amount in (0.1, 0.5, 0.95)
    }
    assert total[0.1] < total[0.5] < total[0.95]


def statistics(study: Study, mask: np.ndarray) -> tuple[float, float]:
    """Return brightness and fine detail in a mask, each less than in the mirrored place."""
    grey = (study.image - study.image.mean()) / study.image.std()
    detail = np.abs(grey - np.roll(grey, 2, axis=0)) + np.abs(grey - np.roll(grey, 2, axis=1))
    brightness, fine = (x[mask].mean() - x[:, ::-1][mask].mean() for x in (grey, detail))
    return float(brightness), float(fine)


@pytest.mark.parametrize("case", sorted(set(CASES) - {"mediastinum", "heart", "edema"}))
def test_a_crude_statistic_tells_studies_with_a_finding_from_others(case):
    cases, others = [], []
    for index in range(16):
        study = drawn(index, CASES[case])
        mask = study.lesions[0].mask
        cases.append(statistics(study, mask))
        others.append(statistics(drawn(index + 100), mask))
    higher = np.array(cases)[:, None, :] > np.array(others)[None, :, :]
    assert higher.mean(axis=(0, 1)).max() > 0.75


@pytest.mark.parametrize("case", ["mediastinum", "heart"])
def test_what_is_wide_leaves_less_dark_lung(case):
    def dark(study: Study) -> float:
        rows = slice(90, 120) if case == "mediastinum" else slice(130, 165)
        middle = study.image[rows, 60:196].astype(float)
        return float((middle < middle.mean()).mean())

    severe = replace(CASES[case], amount=0.95)
    wins = [dark(drawn(i, severe)) < dark(drawn(i + 100)) for i in range(16)]
    assert np.mean(wins) >= 0.75


def test_every_finding_has_a_case():
    assert {condition.finding for condition in CASES.values()} == set(FINDINGS)


@pytest.mark.parametrize(
    ("kind", "seen"), [("rib", [1, 1, 2, 3, 4]), ("clavicle", [0, 0, 0, 0, 0])]
)
def test_the_worse_the_more_ribs_are_broken(kind, seen):
    broken = [
        replace(CASES["rib"], kind=kind, amount=amount).broken_ribs
        for amount in (0.0, 0.3, 0.5, 0.7, 0.9)
    ]
    assert broken == seen


@pytest.mark.parametrize(("amount", "kind"), [(0.0, "nodule"), (0.5, "nodule"), (0.6, "mass")])
def test_a_lesion_of_30_mm_is_a_mass_and_the_mask_has_its_size(amount, kind):
    lesion = drawn(1, replace(CASES["lesion"], amount=amount)).lesions[0]
    assert lesion.kind == kind
    assert (lesion.size_mm >= 30.0) == (kind == "mass")
    assert lesion.box[2] * 1.4 == pytest.approx(lesion.size_mm, rel=0.25)


@pytest.mark.parametrize("case", sorted(set(CASES) - {"lesion"}))
def test_only_lung_lesions_have_a_size(case):
    assert math.isnan(drawn(1, CASES[case]).lesions[0].size_mm)


def test_labels_are_those_of_chexpert_in_its_order():
    assert LABELS == (
        "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion",
        "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
        "Pleural Other", "Fracture", "Support Devices",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("drawn_findings", "expected"),
    [
        ([], {"No Finding"}),
        (["Support Devices"], {"No Finding", "Support Devices"}),
        (["Pneumonia"], {"Pneumonia", "Consolidation", "Lung Opacity"}),
        (["Cardiomegaly"], {"Cardiomegaly", "Enlarged Cardiomediastinum"}),
        (["Fracture", "Edema"], {"Fracture", "Edema", "Lung Opacity"}),
        (["Lung Opacity"], {"Lung Opacity"}),
    ],
)
def test_a_finding_implies_its_parents_and_devices_are_no_finding(drawn_findings, expected):
    assert {label for label, value in labels_of(drawn_findings).items() if value} == expected


def test_the_hierarchy_has_no_cycle_and_ends_in_findings():
    assert set(PARENT) | set(PARENT.values()) <= set(FINDINGS)
    assert not [child for child, parent in PARENT.items() if child in with_implied([parent])]
