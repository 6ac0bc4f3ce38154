"""MIMIC-CXR-JPG: options, lists, tables and reports that are refused."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from mflag.data.datasets import mimic_cxr
from mflag.data.preparing import prepare
from mflag.errors import InputError
from tests.data.datasets.mimic_tree import MimicTree, config_of


@pytest.fixture
def tree(tmp_path: Path) -> MimicTree:
    return MimicTree(tmp_path / "mimic")


@pytest.mark.parametrize(
    ("test", "valid", "message"),
    [
        ("10000000\n99999999\n", None, "names '99999999'"),
        ("subject_id\n10000000\n", None, "names 'subject_id'.*no header"),
        ("10000000\n", "10000000\n", "both mean"),
        ("", None, "is empty"),
    ],
    ids=["unknown", "header", "overlap", "empty"],
)
def test_wrong_id_lists_are_refused(tree, tmp_path, test, valid, message):
    tree.write()
    (tmp_path / "test").write_text(test)
    lists = {"test_ids": str(tmp_path / "test")}
    if valid is not None:
        (tmp_path / "valid").write_text(valid)
        lists["valid_ids"] = str(tmp_path / "valid")
    with pytest.raises(InputError, match=message):
        prepare(config_of(tree, split="id_lists", **lists))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "mgca"}, "dataset.split is 'mgca'; choose one of official, patient, id_lists"),
        ({"split": "id_lists"}, "dataset.test_ids is missing"),
        ({"test_ids": "x"}, "split=official does not read it"),
        ({"labels": "radiologist"}, "dataset.labels is 'radiologist'; choose chexpert or negbio"),
        ({"labels": "negbio"}, "mimic-cxr-2.0.0-negbio.csv.gz .* is missing"),
        ({"sections": ["summary"]}, "dataset.sections has 'summary'"),
        ({"min_words": -1}, "dataset.min_words is -1"),
        ({"views": ["SWIMMERS"]}, "the metadata has PA 20, LATERAL 20"),
        ({"views": ["PA", "LATERL"]}, r"LATERAL 20 \('LATERL' is not there\)"),
        ({"reports_root": "nowhere"}, "dataset.reports_root is 'nowhere', which is no folder"),
        ({"sections": [], "reports_root": "."}, "dataset.sections is empty"),
        ({"balance": True}, "dataset=mimic_cxr does not read it"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_that_cannot_work_are_refused(tree, options, message):
    tree.write()
    with pytest.raises(InputError, match=message):
        prepare(config_of(tree, **options))


def duplicate_image(tree):
    tree.rows.append(tree.rows[0])


def two_patients(tree):
    tree.row(2)["study_id"] = 50_000_000


def duplicate_study(tree):
    tree.labels.append(tree.labels[0])


def other_owner(tree):
    tree.labels[0]["subject_id"] = 19_999_999


def odd_label(tree):
    tree.labels[3]["Edema"] = 2.0


def odd_split(tree):
    tree.split[3]["split"] = "holdout"


def leaving_name(tree):
    tree.row(1)["dicom_id"] = "../../../../etc/passwd"


def other_release(tree):
    for row in tree.rows:
        row["view"] = row.pop("ViewPosition")


def study_with_prefix(tree):
    tree.row(4)["study_id"] = "s50000004"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (duplicate_image, "is in .*metadata.csv.gz more than once"),
        (two_patients, "study 50000000 belongs to patients 10000000 and 11000003"),
        (duplicate_study, "study 50000000 is in .*chexpert.csv.gz more than once"),
        (other_owner, "study 50000000 is of patient 10000000 in the metadata, but of 19999999"),
        (odd_label, "Edema is 2.0 in row 4"),
        (odd_split, "split is 'holdout'"),
        (leaving_name, "dicom_id is '../../../../etc/passwd'"),
        (other_release, "has the columns .*'view'.*wanted are also 'ViewPosition'"),
        (study_with_prefix, "study_id is 's50000004'"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(tree, fault, message):
    if fault in (duplicate_study, other_owner, odd_label, odd_split):
        fault(tree)
        tree.write()
    else:
        tree.write()
        fault(tree)
        tree.write_table("mimic-cxr-2.0.0-metadata.csv.gz", tree.rows)
    with pytest.raises(InputError, match=message):
        mimic_cxr.read(config_of(tree))


def test_a_table_that_was_cut_short_is_refused(tree):
    tree.write()
    path = tree.root / "mimic-cxr-2.0.0-metadata.csv.gz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="cannot be read as CSV"):
        mimic_cxr.read(config_of(tree))


def test_a_folder_of_another_dataset_is_named(tree):
    tree.root.mkdir()
    (tree.root / "stage_2_train_labels.csv").touch()
    with pytest.raises(InputError, match="metadata.csv.gz .* is missing .* looks like rsna"):
        mimic_cxr.read(config_of(tree))


def test_tables_without_images_or_reports_are_refused_at_once(tree):
    tree.write()
    for number in range(20):
        tree.report(number).unlink()
    with pytest.raises(InputError, match=r"no report is in .* files/p10/p10000000/s50000000.txt"):
        mimic_cxr.read(config_of(tree))
    for number in range(20):
        tree.image(number).unlink()
    with pytest.raises(InputError, match="none of the images that the tables name"):
        mimic_cxr.read(config_of(tree))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"A" * ((1 << 20) + 1), "report larger than 1 MiB"),
        (b"\n IMPRESSION: \xff\xfe", "report is no UTF-8 text"),
        (b"", "report has no impression or findings"),
        (gzip.compress(b"x", mtime=0), "report is no UTF-8 text"),
    ],
    ids=["huge", "bytes", "empty", "packed"],
)
def test_hostile_reports_are_rejected_with_a_reason(tree, content, reason):
    tree.write()
    tree.report(3).write_bytes(content)
    config = config_of(tree)
    assert len(prepare(config)) == 19
    assert pd.read_csv(Path(str(config.out)) / "rejected.csv")["reason"].tolist() == [reason]


def test_a_report_that_is_a_folder_is_rejected(tree):
    tree.write()
    tree.report(3).unlink()
    tree.report(3).mkdir()
    config = config_of(tree)
    prepare(config)
    listed = pd.read_csv(Path(str(config.out)) / "rejected.csv")["reason"]
    assert listed.tolist() == ["report cannot be read: Is a directory"]
