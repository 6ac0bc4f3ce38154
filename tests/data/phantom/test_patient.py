from collections import Counter

import numpy as np
import pytest

from mflag.data.phantom.findings import FINDINGS, PREVALENCE
from mflag.data.phantom.patient import locate, make_patient


def test_patients_have_one_to_three_studies_in_a_row():
    places = [locate(3, index) for index in range(120)]
    studies = Counter(patient for patient, _ in places)
    assert set(studies.values()) == {1, 2, 3}
    assert [patient for patient, _ in places] == sorted(studies.elements())


def test_visits_of_a_patient_are_numbered_from_zero():
    places = [locate(3, index) for index in range(120)]
    expected = [
        (p, visit) for p, n in sorted(Counter(p for p, _ in places).items()) for visit in range(n)
    ]
    assert places == expected


def test_no_place_has_two_of_one_finding():
    visits = [visit for number in range(300) for visit in make_patient(1, number).visits]
    places = [[(c.finding, c.side, c.kind) for c in visit] for visit in visits]
    assert all(len(set(place)) == len(place) for place in places)


@pytest.fixture(scope="module")
def patients():
    return [make_patient(2, number) for number in range(2000)]


@pytest.mark.parametrize("visit", [0, 1, 2])
@pytest.mark.parametrize("finding", FINDINGS)
def test_prevalence_is_the_same_in_every_visit(patients, finding, visit):
    visits = [patient.visits[visit] for patient in patients]
    share = np.mean([any(c.finding == finding for c in conditions) for conditions in visits])
    assert share == pytest.approx(PREVALENCE[finding], abs=0.055)


def test_most_findings_are_still_there_in_the_next_study(patients):
    pairs = [patient.visits[:2] for patient in patients]
    kept = [
        any(c.finding == finding for c in after)
        for before, after in pairs
        for finding in {c.finding for c in before}
    ]
    assert 0.6 < np.mean(kept) < 0.8


def test_a_kept_finding_says_how_it_changed(patients):
    changes = []
    for before, after, _ in (patient.visits for patient in patients[:50]):
        old = {(c.finding, c.side, c.kind): c.amount for c in before}
        changes += [
            (c.change, c.amount - old[c.finding, c.side, c.kind])
            for c in after
            if c.change is not None
        ]
    assert len(changes) > 30
    assert all(said == pytest.approx(done) for said, done in changes)


@pytest.mark.parametrize("finding", ["Fracture", "Support Devices"])
def test_broken_bones_and_devices_stay_as_they_are(patients, finding):
    changes = {
        c.change
        for patient in patients[:300]
        for visit in patient.visits[1:]
        for c in visit
        if c.finding == finding
    }
    assert changes == {None, 0.0}
