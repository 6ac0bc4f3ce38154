"""MIMIC-CXR-JPG on invented trees: funnel, texts, labels, splits."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mflag.config.prepare import PrepareConfig
from mflag.data import preparing
from mflag.data.datasets import mimic_cxr
from mflag.data.datasets.mimic_cxr_tables import LABELS
from mflag.data.images import read_image
from mflag.data.preparing import prepare
from mflag.errors import InputError
from tests.data.datasets.mimic_tree import MimicTree, config_of


@pytest.fixture
def tree(tmp_path: Path) -> MimicTree:
    return MimicTree(tmp_path / "mimic")


def funnel_of(config: PrepareConfig) -> list[dict]:
    return json.loads((Path(str(config.out)) / "funnel.json").read_text())["steps"]


def spoil(tree: MimicTree) -> None:
    """Plant one fault of each kind."""
    tree.row(0)["ViewPosition"] = None
    del tree.split[2 * 1]
    del tree.labels[2]
    tree.reports[3] = "\n FINDINGS: \n \n IMPRESSION:\n\n"
    tree.reports[4] = "\n IMPRESSION: Unchanged ___ now.\n"
    tree.write()
    tree.report(5).unlink()
    tree.image(6).unlink()
    tree.image(7).write_bytes(tree.image(7).read_bytes()[:300])


def test_every_planted_fault_is_counted_in_its_own_step(tree):
    spoil(tree)
    config = config_of(tree)
    config.max_reject_fraction = 0.5
    prepared = prepare(config)
    steps = funnel_of(config)
    assert [(step["name"], step["dropped"], step["published"]) for step in steps] == [
        ("image in the metadata", 0, 377_110),
        ("image in the split table", 1, None),
        ("view PA or AP", 21, 243_334),  # 20 lateral, 1 unknown
        ("study in the label table", 1, 243_324),
        ("report present", 1, 227_827),
        ("text in impression, findings", 1, None),
        ("text of 3 words or more", 1, None),
        ("image present", 1, None),
        ("image readable", 1, 213_384),
    ]
    assert steps[0]["kept"] == 40 and steps[-1]["kept"] == len(prepared) == 12
    for before, after in pairwise(steps):
        assert after["kept"] + after["dropped"] == before["kept"]
    assert steps[0]["note"] == "20 studies, 10 patients"
    assert steps[2]["note"] == "LATERAL 20, unknown 1"


def test_every_planted_fault_but_the_view_is_listed_with_its_reason(tree):
    spoil(tree)
    config = config_of(tree)
    config.max_reject_fraction = 0.5
    prepare(config)
    listed = pd.read_csv(Path(str(config.out)) / "rejected.csv")
    wrong = [1, 2, 3, 4, 5, 6, 7]
    assert listed["file"].tolist() == [
        tree.image(number).relative_to(tree.root).as_posix() for number in wrong
    ]
    assert listed["reason"].tolist() == [
        "not in the split table",
        "study not in the label table",
        "report has no impression or findings",
        "text has 2 of 3 words",
        "missing report",
        "missing file",
        "truncated or damaged",
    ]


def test_short_reports_never_stop_a_run_but_missing_ones_do(tree):
    for number in range(10):
        tree.reports[number] = "\n IMPRESSION: Unchanged."
    tree.write()
    config = config_of(tree)
    assert len(prepare(config)) == 10
    for number in range(10, 13):
        tree.report(number).unlink()
    config.overwrite = True
    with pytest.raises(InputError, match="3 of 20 studies .*missing report"):
        prepare(config)


def test_a_run_without_any_text_left_says_why(tree):
    tree.write()
    with pytest.raises(InputError, match="all 20 studies .* left out.*text has 11 of 99 words"):
        prepare(config_of(tree, min_words=99))


def test_manifest_holds_ids_texts_views_and_images_of_one_row_together(tree):
    tree.write()
    manifest = (prepared := prepare(config_of(tree))).manifest
    assert manifest.columns.tolist()[:6] == ["id", "patient", "study", "split", "text", "view"]
    row = manifest.iloc[5].to_dict()
    assert (row["id"], row["patient"], row["study"]) == (
        tree.row(5)["dicom_id"], "12000006", "50000005",
    )  # fmt: skip
    assert row["text"] == "No disease in study 5. Invented study 5 with clear lungs."
    assert (row["view"], row["split"]) == ("PA", "train")
    assert np.array_equal(prepared.images[5], read_image(tree.image(5)))


def test_labels_stay_present_absent_uncertain_and_unmentioned(tree):
    tree.write()
    prepared = prepare(config_of(tree))
    assert prepared.labels == list(LABELS)
    got = prepared.values("label/")
    codes = np.array([1, 0, -1, np.nan], np.float32)
    expected = codes[np.add.outer(np.arange(20), np.arange(14)) % 4]
    assert np.array_equal(got, expected, equal_nan=True)


def test_labels_are_found_by_name_whatever_the_order_of_columns(tree):
    tree.labels = [dict(reversed(row.items())) for row in tree.labels]
    tree.write()
    assert prepare(config_of(tree)).values("label/")[0, 0] == 1


@pytest.mark.parametrize(
    ("version", "ending"), [("2.0.0", ".csv"), ("2.0.0", ".csv.gz"), ("2.1.0", ".csv.gz")]
)
def test_either_release_is_read_packed_or_not(tree, version, ending):
    tree.write(version, ending)
    assert len(prepare(config_of(tree))) == 20


def test_negbio_labels_come_from_their_own_table(tree):
    tree.write()
    rows = [row | {"Edema": 1.0} for row in tree.labels]
    tree.write_table("mimic-cxr-2.0.0-negbio.csv", rows)
    manifest = prepare(config_of(tree, labels="negbio")).manifest
    assert (manifest["label/Edema"] == 1).all()


def test_without_labels_no_study_is_dropped_for_them(tree):
    del tree.labels[:10]
    tree.write()
    prepared = prepare(config_of(tree, labels=None))
    assert len(prepared) == 20 and prepared.labels == []


@pytest.mark.parametrize(
    ("views", "count"), [(None, 40), (["LATERAL"], 20), (["pa", "LATERAL"], 40)]
)
def test_views_are_chosen_by_view_position(tree, views, count):
    tree.write()
    assert len(prepare(config_of(tree, views=views))) == count


def test_published_frontal_counts_stand_beside_frontal_views_only(tree):
    tree.write()
    config = config_of(tree, views=["LATERAL"])
    prepare(config)
    assert [step["published"] for step in funnel_of(config)][2:4] == [None, None]


def test_reports_may_lie_in_a_folder_of_their_own(tree, tmp_path):
    tree.write()
    for number in range(20):
        new = tmp_path / "reports" / "files" / tree.report(number).relative_to(tree.root / "files")
        new.parent.mkdir(parents=True, exist_ok=True)
        tree.report(number).rename(new)
    for folder in ("reports", "reports/files"):
        config = config_of(tree, reports_root=str(tmp_path / folder))
        config.overwrite = True
        assert prepare(config).manifest["text"][0].startswith("No disease in study 0.")


def test_the_last_paragraph_stands_in_and_windows_line_ends_do_not_matter(tree):
    tree.reports[0] = "\n HISTORY: cough\n \n Lungs are\n clear.".replace("\n", "\r\n")
    tree.write()
    assert prepare(config_of(tree)).manifest["text"][0] == "Lungs are clear."


def test_sections_and_their_order_can_be_chosen(tree):
    tree.write()
    manifest = prepare(config_of(tree, sections=["examination"])).manifest
    assert set(manifest["text"]) == {"CHEST (PA AND LAT)"}


def test_no_sections_read_no_reports(tree):
    tree.write()
    for number in range(20):
        tree.report(number).unlink()
    config = config_of(tree, sections=[])
    assert set(prepare(config).manifest["text"]) == {""}
    assert [step["name"] for step in funnel_of(config)][4:] == ["image present", "image readable"]


def test_min_words_0_keeps_studies_without_text(tree):
    tree.reports[0] = "nothing"
    tree.write()
    assert prepare(config_of(tree, min_words=0)).manifest["text"][0] == ""


def test_an_exception_study_gets_its_misplaced_conclusion(tree):
    for rows in (tree.rows, tree.split, tree.labels):
        for row in rows:
            if row["study_id"] == 50_000_000:
                row["study_id"] = 50_913_680
    tree.reports[0] = "\n FINDINGS: No.\n RECOMMENDATION(S): The true conclusion.\n"
    tree.write()
    assert prepare(config_of(tree)).manifest["text"][0] == "The true conclusion."


def test_official_split_is_that_of_the_table(tree):
    tree.write()
    assert prepare(config_of(tree)).split_counts() == {"train": 12, "valid": 4, "test": 4}


def test_patient_split_keeps_patients_whole(tree):
    tree.write()
    manifest = prepare(config_of(tree, split="patient")).manifest
    assert manifest.groupby("patient")["split"].nunique().max() == 1
    assert manifest["split"].value_counts().to_dict() == {"train": 16, "valid": 2, "test": 2}


def test_id_lists_take_subject_ids_one_line_an_image(tree, tmp_path):
    tree.write()
    subjects = [tree.row(number)["subject_id"] for number in (0, 1, 2, 3)]
    (tmp_path / "test.csv").write_text("\n".join(map(str, subjects)))
    config = config_of(tree, split="id_lists", test_ids=str(tmp_path / "test.csv"))
    manifest = prepare(config).manifest
    assert set(manifest["patient"][manifest["split"] == "test"]) == set(map(str, subjects))
    assert (manifest["split"] == "valid").sum() == 2  # drawn: one patient
    assert manifest.groupby("patient")["split"].nunique().max() == 1


def test_an_id_list_of_validation_images_is_kept_to(tree, tmp_path):
    tree.write()
    for name, number in (("test", 0), ("valid", 4)):
        (tmp_path / name).write_text(f"{tree.row(number)['subject_id']}\n")
    lists = {"test_ids": str(tmp_path / "test"), "valid_ids": str(tmp_path / "valid")}
    manifest = prepare(config_of(tree, split="id_lists", **lists)).manifest
    assert manifest.index[manifest["split"] == "valid"].tolist() == [4, 5]


def test_other_labels_are_other_options(tree):
    tree.write()
    config = config_of(tree)
    prepare(config)
    tree.labels[0]["Edema"] = -1.0
    tree.write_table("mimic-cxr-2.0.0-chexpert.csv.gz", tree.labels)
    with pytest.raises(InputError, match="other options"):
        prepare(config)


def test_a_run_that_goes_on_reads_no_report_again_and_counts_the_same(tree, monkeypatch):
    spoil(tree)
    config = config_of(tree)
    config.max_reject_fraction = 0.5
    prepare(config)
    undisturbed = funnel_of(config)
    config.out = str(tree.root.parent / "again")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(preparing, "write_prepared", interrupt)
        prepare(config)
    monkeypatch.setattr(mimic_cxr, "read_report", interrupt)
    assert len(prepare(config)) == 12
    assert funnel_of(config) == undisturbed


def interrupt(*_):
    raise KeyboardInterrupt
