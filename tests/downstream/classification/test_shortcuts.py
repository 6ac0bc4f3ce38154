import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mflag.downstream.circumstances import circumstances
from mflag.downstream.classification.shortcuts import Shortcuts

ROOT = Path(__file__).parents[2]
LABELS = Path(os.environ.get("MFLAG_REAL_DATA", ROOT.parent / "shared" / "data")) / "labels"
DRAW = {"protocol": "linear", "fraction": 1.0, "seed": 0}


def rows_of(found, kind, **wanted):
    return [row for row in found[kind] if all(row[k] == v for k, v in wanted.items())]


@pytest.fixture
def rsna(make_study):
    """A table with RSNA's counts: AP 12,173 with 4,662 positives, PA 14,511 with 1,350."""
    counts = {("AP", 1): 4662, ("AP", 0): 7511, ("PA", 1): 1350, ("PA", 0): 13161}
    one = pd.DataFrame([key for key, n in counts.items() for _ in range(n)], columns=["view", "y"])
    small = one.iloc[:: len(one) // 4]
    table = pd.concat([one, small, one], ignore_index=True)
    splits = ["train"] * len(one) + ["valid"] * len(small) + ["test"] * len(one)
    return make_study(splits, **{"view": table["view"], "label/Pneumonia": table["y"]})


def test_rsna_view_looks_like_a_pneumonia_detector(rsna):
    found = Shortcuts(rsna).results()
    shares = {row["group"]: row["share"] for row in found["shares"]}
    assert shares == pytest.approx({"AP": 0.383, "PA": 0.093}, abs=5e-4)
    # P(AP | positive) - P(AP | negative) over 2, above one half
    (alone,) = found["alone"]
    assert alone["auc"] == pytest.approx(0.5 + (4662 / 6012 - 7511 / 20672) / 2)
    assert alone["ci_low"] < alone["auc"] < alone["ci_high"]
    (sentence,) = found["sentences"]
    assert "38.3\N{NO-BREAK SPACE}% with view AP and in 9.3\N{NO-BREAK SPACE}%" in sentence


def test_view_classifier_is_found_out_within_each_view(rsna):
    shortcuts, test = Shortcuts(rsna), rsna.prepared.rows("test")
    is_ap = (rsna.prepared.manifest["view"].to_numpy()[test] == "AP").astype(float)
    shortcuts.keep(is_ap[:, None], np.array([True]), {"encoder": "view", **DRAW})
    within = shortcuts.results()["within"]
    macro = {row["group"]: row["value"] for row in within if row["metric"] == "macro_auc"}
    assert macro == {"AP": 0.5, "PA": 0.5}
    assert {row["n_test"] for row in within} == {12173, 14511}


def test_only_the_largest_draw_of_the_first_seed_is_shown(make_study):
    splits = ["train"] * 4 + ["valid"] * 2 + ["test"] * 4
    columns = {"view": ["AP", "PA"] * 5, "label/a": [1, 1, 0, 0, 1, 0, 1, 1, 0, 0]}
    shortcuts = Shortcuts(make_study(splits, fractions=(0.25, 0.5), **columns))
    for fraction, seed in ((0.25, 0), (0.5, 0), (0.5, 1)):
        fields = {"encoder": "e", "protocol": "linear", "fraction": fraction, "seed": seed}
        shortcuts.keep(np.arange(4.0)[:, None], np.array([True]), fields)
    found = shortcuts.results()["within"]
    assert {(row["fraction"], row["seed"]) for row in found} == {(0.5, 0)}


def test_macro_auc_within_groups_does_not_wait_for_a_rare_one(make_study):
    splits = ["train"] * 4 + ["valid"] * 2 + ["test"] * 41
    views = ["AP", "PA"] * 23 + ["LL"]
    columns = {"view": views, "label/a": [1, 1, 0, 0] * 11 + [1, 0, 1]}
    shortcuts = Shortcuts(make_study(splits, **columns))
    shortcuts.keep(np.arange(41.0)[:, None], np.array([True]), {"encoder": "e", **DRAW})
    found = rows_of(shortcuts.results(), "within", metric="macro_auc")
    assert [row["group"] for row in found] == ["AP", "PA"]


def test_masked_labels_are_in_no_share(make_study):
    splits = ["train"] * 4 + ["valid"] * 2 + ["test"] * 2
    columns = {"view": ["AP", "AP", "PA", "PA"] * 2, "label/a": [1, -1, 0, 0, 1, 0, 1, 0]}
    found = Shortcuts(make_study(splits, policy="ignore", **columns)).results()
    (ap,) = rows_of(found, "shares", group="AP")
    assert (ap["positive"], ap["known"], ap["share"]) == (1, 1, 1.0)


def test_group_that_tells_a_label_on_test_by_chance_is_no_sentence(make_study):
    splits = ["train"] * 40 + ["valid"] * 2 + ["test"] * 40
    views = ["AP", "PA"] * 20 + ["AP", "PA"] + ["AP", "PA"] * 20
    by_chance = [1, 1, 0, 0] * 9 + [1, 1, 1, 0] + [1, 0] + [1, 0] * 20
    found = Shortcuts(make_study(splits, **{"view": views, "label/a": by_chance})).results()
    assert found["alone"][0]["auc"] == 1.0 and found["alone"][0]["auc_train"] < 0.6
    assert not found["sentences"]


def test_group_that_train_lacks_gets_the_share_of_all(make_study):
    splits = ["train"] * 4 + ["valid"] * 2 + ["test"] * 4
    views = ["AP", "AP", "PA", "PA", "AP", "PA", "LL", "LL", "AP", "PA"]
    columns = {"view": views, "label/a": [1, 1, 0, 0, 1, 0, 1, 0, 1, 0]}
    found = Shortcuts(make_study(splits, **columns)).results()
    assert found["alone"][0]["auc"] == pytest.approx((0.5 + 3) / 4)
    assert rows_of(found, "shares", group="LL")[0]["share"] is None


def test_ages_are_halved_at_the_median_of_train(make_study):
    splits = ["train"] * 4 + ["valid"] * 2 + ["test"] * 2
    ages = [20.0, 40.0, 60.0, 80.0, 1.0, 99.0, 50.0, np.nan]
    study = make_study(splits, **{"age": ages, "label/a": [1, 0] * 4})
    (age,) = circumstances(study.prepared)
    assert age.groups == ["under 50", "50 and over", "unknown"]
    assert age.of_row.tolist() == [0, 0, 1, 1, 0, 1, 1, 2]


@pytest.mark.parametrize(
    "columns",
    [{}, {"view": ["PA"] * 8}, {"view": [""] * 8, "age": [np.nan] * 8}, {"sex": [None] * 8}],
    ids=["absent", "one view", "nothing known", "empty"],
)
def test_without_groups_nothing_is_said(make_study, columns):
    splits = ["train"] * 4 + ["valid"] * 2 + ["test"] * 2
    found = Shortcuts(make_study(splits, **columns, **{"label/a": [1, 0] * 4})).results()
    assert not any(found.values())


def test_unknown_views_are_a_group_at_the_end(make_study):
    splits = ["train"] * 4 + ["valid"] * 2 + ["test"] * 2
    views = ["", "", "", "PA", "AP", "PA", "", "PA"]
    (view,) = circumstances(make_study(splits, view=views, **{"label/a": [1, 0] * 4}).prepared)
    assert view.groups == ["PA", "AP", "unknown"]


@pytest.mark.skipif(not LABELS.is_dir(), reason=f"{LABELS} is absent (MFLAG_REAL_DATA)")
def test_shares_by_view_and_sex_of_nih(make_study):
    raw = pd.read_csv(LABELS / "Data_Entry_2017_v2020.csv.gz")
    present = raw["Finding Labels"].str.get_dummies("|")
    few = pd.concat([raw.iloc[:200], raw.iloc[:200]])  # valid and test, for the sizes alone
    table = pd.concat([raw, few])
    labels = pd.concat([present, present.iloc[:200], present.iloc[:200]])
    study = make_study(
        ["train"] * len(raw) + ["valid"] * 200 + ["test"] * 200,
        view=table["View Position"].to_numpy(),
        sex=table["Patient Gender"].to_numpy(),
        **{f"label/{name}": labels[name].to_numpy() for name in ("Edema", "Hernia")},
    )
    found = Shortcuts(study).results()
    assert [row["train"] for row in found["circumstances"]] == [[67310, 44810], [63340, 48780]]
    expected = {  # counted with pandas from the table of 2020
        ("Edema", "view"): {"PA": 276, "AP": 2027},
        ("Hernia", "view"): {"PA": 192, "AP": 35},
        ("Hernia", "sex"): {"M": 96, "F": 131},
    }
    for (label, circumstance), positives in expected.items():
        rows = rows_of(found, "shares", label=label, circumstance=circumstance)
        assert {row["group"]: row["positive"] for row in rows} == positives
