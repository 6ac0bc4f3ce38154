"""Open-i on invented reports and, where it is there, on the real archive."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mflag.data.datasets import openi
from mflag.data.datasets.openi_labels import RULES, label_columns
from mflag.data.datasets.openi_reports import (
    Report,
    parse_report,
    read_files,
)
from mflag.data.images import read_image
from mflag.data.preparing import prepare
from mflag.errors import InputError
from tests.data.datasets.openi_tree import BOMB, OpeniTree, config_of, image_names, xml

REAL_DATA = Path(
    os.environ.get("MFLAG_REAL_DATA", Path(__file__).parents[3].parent / "shared" / "data")
)
REPORTS, HEADERS = "openi/NLMCXR_reports.tgz", "labels/nlmcxr_dicom_metadata.csv.gz"
real = pytest.mark.skipif(
    not (REAL_DATA / REPORTS).is_file(), reason=f"{REPORTS} is not in {REAL_DATA}"
)


@pytest.fixture
def tree(tmp_path):
    return OpeniTree(tmp_path / "openi")


def funnel_of(config):
    return json.loads((Path(config.out) / "funnel.json").read_text())["steps"]


def rejected_of(config):
    table = pd.read_csv(Path(config.out) / "rejected.csv")
    return dict(zip(table["file"], table["reason"], strict=True))


@pytest.mark.parametrize("packed", [True, False], ids=["tgz", "folder"])
def test_archive_and_folder_give_the_same_studies(tree, packed):
    tree.write(packed)
    prepared = prepare(config_of(tree))
    assert prepared.manifest["study"].tolist() == [f"CXR{n}" for n in range(1, 11) for _ in "ab"]
    row = prepared.manifest.iloc[3].to_dict()
    assert (row["id"], row["patient"]) == ("CXR2_IM-0002-2001", "CXR2")
    assert row["text"] == "No disease. Lungs are clear." and row["view"] == ""
    assert np.array_equal(prepared.images[3], read_image(tree.image(2, 1)))
    assert prepared.manifest.groupby("patient")["split"].nunique().max() == 1


def spoil(tree):
    tree.reports |= {
        "2.xml": xml(2, findings="", impression=""),
        "3.xml": xml(3, findings="", impression="Unchanged."),
        "4.xml": xml(4)[:-9],
        "5.xml": xml(5).replace('"CXR5"', '"CXR1"'),
        "6.xml": xml(6).replace("CXR6_IM-0006-1001", "CXR1_IM-0001-1001"),
        "9.xml": xml(9, images=0),
    }
    tree.write()
    tree.image(7).unlink()
    tree.image(8).write_bytes(tree.image(8).read_bytes()[:200])


def test_every_planted_fault_is_counted_and_listed(tree):
    spoil(tree)
    config = config_of(tree, min_words=2)
    config.max_reject_fraction = 0.5
    prepare(config)
    steps = funnel_of(config)
    assert [(step["name"], step["kept"], step["dropped"]) for step in steps] == [
        ("image of a report", 16, 0),  # a broken report counts once
        ("report readable, ids unique", 13, 3),
        ("text in impression, findings", 11, 2),
        ("text of 2 words or more", 9, 2),
        ("file present", 8, 1),
        ("image readable", 7, 1),
    ]
    assert steps[0]["note"] == "10 reports, 1 of them without an image"
    found = rejected_of(config)
    assert found.pop("4.xml").startswith("XML is broken (")
    assert found == {
        "CXR2_IM-0002-1001": "report has no impression or findings",
        "CXR2_IM-0002-2001": "report has no impression or findings",
        "CXR3_IM-0003-1001": "text has 1 of 2 words",
        "CXR3_IM-0003-2001": "text has 1 of 2 words",
        "5.xml": "report id CXR1 is that of 1.xml too",
        "CXR1_IM-0001-1001": "image is that of 1.xml too",
        "CXR7_IM-0007-1001": "missing file",
        "CXR8_IM-0008-1001": "truncated or damaged",
    }


@pytest.mark.parametrize(
    ("term", "labels"),
    [
        ("normal", {"No Finding"}),
        ("pulmonary atelectasis/base/left", {"Atelectasis"}),
        ("cardiac shadow/enlarged/mild", {"Cardiomegaly"}),
        ("cardiac shadow/borderline", set()),
        ("consolidation/lung/lower lobe/left", {"Consolidation", "Lung Opacity"}),
        ("infiltrate/lung/base/left", {"Infiltration", "Lung Opacity"}),
        ("airspace disease/lung", {"Lung Opacity"}),
        ("opacity/lung/base/left", {"Lung Opacity"}),
        ("opacity/pleura/right", set()),
        ("opacity/ribs/left", set()),
        ("nodule/lung/left", {"Nodule", "Lung Lesion"}),
        ("mass/lung/lingula", {"Mass", "Lung Lesion"}),
        ("calcified granuloma/lung/hilum", {"Granuloma"}),
        ("subcutaneous emphysema", set()),
        ("pulmonary emphysema", {"Emphysema"}),
        ("cystic fibrosis", set()),
        ("pulmonary fibrosis/mild", {"Fibrosis"}),
        ("fractures, bone/ribs/left/healed", {"Fracture"}),
        ("hernia, hiatal/large", {"Hernia"}),
        ("pulmonary edema/mild", {"Edema"}),
        ("pericardial effusion", set()),
        ("pleural effusion/left/small", {"Pleural Effusion"}),
        ("hydropneumothorax/left", {"Pneumothorax", "Pleural Effusion"}),
        ("thickening/pleura/apex/right", {"Pleural Other"}),
        ("thickening/bronchovascular", set()),
        ("pneumonia/lower lobe/right", {"Pneumonia"}),
        ("pneumonectomy/left", set()),
        ("catheters, indwelling/right", {"Support Devices"}),
        ("implanted medical device", {"Support Devices"}),
        ("tube, inserted", {"Support Devices"}),
    ],
)
def test_mesh_headings_become_findings_by_rule(term, labels):
    columns = label_columns([Report("CXR1", (), {}, (term,), ())], "major")
    present = columns.columns[columns.iloc[0] == 1].str.removeprefix("label/")
    assert set(present) == labels
    assert columns.notna().all(axis=None)


def test_reports_that_nobody_coded_have_no_labels():
    coded, skipped, bare = (
        Report("CXR1", (), {"findings": "x"}, major, ())
        for major in (("normal",), ("no indexing",), ())
    )
    rows = label_columns([coded, skipped, bare], "major").isna().all(axis=1)
    assert rows.tolist() == [False, True, True]
    automatic = label_columns([coded, Report("CXR2", (), {}, (), ())], "automatic")
    assert automatic.isna().all(axis=1).tolist() == [False, True]


def test_automatic_terms_are_labels_on_demand(tree):
    tree.write()
    prepared = prepare(config_of(tree, labels="automatic"))
    assert prepared.labels == [name for name in RULES if name != "No Finding"]
    assert (prepared.manifest["label/Lung Opacity"] == 1).all()


@pytest.fixture
def headers(tree, tmp_path):
    views = ["PA", "LL"] * 8 + ["AP", "LATERAL", None]
    names = [name for number in range(1, 11) for name in image_names(number)]
    table = pd.DataFrame({"imageid": names[: len(views)], "View Position": views, "Rows": 9})
    table.to_csv(tmp_path / "headers.csv.gz", index=False)
    return str(tmp_path / "headers.csv.gz")


@pytest.mark.parametrize(
    ("views", "count"), [(["PA", "AP"], 9), (["PA", "AP", "unknown"], 11), (["ll"], 8), (None, 20)]
)
def test_views_come_from_the_dicom_headers(tree, headers, views, count):
    tree.write()
    assert len(prepare(config_of(tree, headers, views=views))) == count


def test_without_headers_every_view_stays_and_that_is_said(tree, capsys):
    tree.write()
    assert len(prepare(config_of(tree))) == 20
    assert "note: csv is not given, so views are unknown" in capsys.readouterr().err


def test_a_numbered_image_is_found_under_its_short_name(tree, headers):
    name = "CXR1_1_IM-0001-1001"
    tree.reports["1.xml"] = tree.reports["1.xml"].replace("CXR1_IM-0001-1001", name)
    tree.write()
    tree.image(1).rename(tree.image(1).with_name("1_IM-0001-1001.png"))
    manifest = prepare(config_of(tree, headers)).manifest
    assert manifest.iloc[0][["id", "view"]].tolist() == [name, "PA"]


def test_two_files_of_one_image_and_form_are_refused(tree):
    tree.write()
    copy = tree.root / "again" / tree.image(1).name
    copy.parent.mkdir()
    copy.write_bytes(tree.image(2).read_bytes())
    with pytest.raises(InputError, match=r"CXR1_IM-0001-1001 is at .* and at .*; leave one"):
        openi.read(config_of(tree))


def test_a_copy_in_another_form_is_passed_over(tree):
    tree.write()
    for folder in ("a", "b"):
        (tree.root / folder).mkdir()
        (tree.root / folder / "1_IM-0001-1001.dcm").touch()
    assert openi.read(config_of(tree)).items[0] == str(tree.image(1))


def test_headers_that_give_an_image_two_views_are_refused(tree, headers):
    table = pd.read_csv(headers)
    other = table.iloc[[0]].assign(**{"View Position": "LL"})
    pd.concat([table, table.iloc[[1]], other]).to_csv(headers, index=False)
    tree.write()
    with pytest.raises(InputError, match="imageid is 'CXR1_IM-0001-1001' .*one View Position an"):
        openi.read(config_of(tree, headers))


def test_reports_may_lie_elsewhere_and_no_sections_need_no_text(tree, tmp_path):
    tree.reports["1.xml"] = xml(1, findings="", impression="")
    tree.write()
    (tmp_path / "reports").mkdir()
    (tree.root / "NLMCXR_reports.tgz").rename(tmp_path / "reports" / "NLMCXR_reports.tgz")
    config = config_of(tree, reports_root=str(tmp_path / "reports"), sections=[])
    assert set(prepare(config).manifest["text"]) == {""}
    config = config_of(tree, reports_root=str(tmp_path / "reports"), min_words=0)
    config.overwrite = True
    assert prepare(config).manifest["text"].tolist()[:3] == ["", "", "No disease. Lungs are clear."]


def test_id_lists_name_reports(tree, tmp_path):
    tree.write()
    (tmp_path / "test").write_text("CXR3\nCXR4\n")
    manifest = prepare(config_of(tree, split="id_lists", test_ids=str(tmp_path / "test"))).manifest
    assert set(manifest["study"][manifest["split"] == "test"]) == {"CXR3", "CXR4"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "chexpert"}, "dataset.labels is 'chexpert'; choose major or automatic"),
        ({"split": "official"}, "choose one of patient, id_lists"),
        ({"sections": ["last_paragraph"]}, "dataset.sections has 'last_paragraph'"),
        ({"min_words": -1}, "dataset.min_words is -1"),
        ({"csv": "nowhere.csv"}, "csv is 'nowhere.csv', which is no file"),
        ({"reports_root": "nowhere"}, "dataset.reports_root is 'nowhere'"),
        ({"balance": True}, "dataset=openi does not read it"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_that_cannot_work_are_refused(tree, options, message):
    tree.write()
    with pytest.raises(InputError, match=message):
        openi.read(config_of(tree, **options))


def test_another_table_of_headers_is_refused(tree, tmp_path):
    tree.write()
    (tmp_path / "t.csv").write_text("image,view\n1,PA\n")
    with pytest.raises(InputError, match="'image', 'view'; wanted are also 'imageid'"):
        openi.read(config_of(tree, str(tmp_path / "t.csv")))


def test_a_folder_of_another_dataset_is_named(tree):
    (tree.root / "dicom-images-train").mkdir(parents=True)
    with pytest.raises(InputError, match=r"NLMCXR_reports.tgz is missing .* looks like siim"):
        openi.read(config_of(tree))


def test_reports_without_any_image_are_refused(tree):
    tree.write()
    for image in tree.root.rglob("*.png"):
        image.unlink()
    with pytest.raises(InputError, match="none of the 20 images is below root"):
        openi.read(config_of(tree))


def test_reports_that_are_all_broken_are_refused(tree):
    tree.reports = {"1.xml": BOMB}
    tree.write()
    with pytest.raises(InputError, match=r"none of the 1 reports can be used \(1.xml: XML with"):
        openi.read(config_of(tree))


@pytest.fixture(scope="module")
def real_reports():
    return [parse_report(content) for _, content in read_files(REAL_DATA / REPORTS)]


@real
def test_the_real_archive_has_its_known_counts(real_reports):
    assert len(real_reports) == len({report.id for report in real_reports}) == 3955
    assert sum("findings" in report.sections for report in real_reports) == 3425
    assert sum("impression" in report.sections for report in real_reports) == 3921
    images = [image for report in real_reports for image in report.images]
    assert len(images) == len(set(images)) == 7470
    assert sum(not report.images for report in real_reports) == 104


@real
def test_the_real_headings_give_these_findings(real_reports):
    labels = label_columns(real_reports, "major")
    assert int(labels.isna().all(axis=1).sum()) == 95
    counts = labels.sum().astype(int)
    assert {name: int(counts[f"label/{name}"]) for name in RULES} == {
        "Atelectasis": 332, "Cardiomegaly": 395, "Consolidation": 30, "Edema": 46,
        "Emphysema": 102, "Fibrosis": 20, "Fracture": 84, "Granuloma": 421, "Hernia": 50,
        "Infiltration": 65, "Lung Lesion": 126, "Lung Opacity": 555, "Mass": 17,
        "No Finding": 1391, "Nodule": 111, "Pleural Effusion": 163, "Pleural Other": 47,
        "Pneumonia": 42, "Pneumothorax": 27, "Support Devices": 291,
    }  # fmt: skip


@real
def test_the_real_headers_leave_these_frontal_images(tmp_path, real_reports):
    (tmp_path / "NLMCXR_png").mkdir()
    for report in real_reports:
        for image in report.images:
            (tmp_path / "NLMCXR_png" / f"{image}.png").touch()
    tree = OpeniTree(tmp_path)
    config = config_of(
        tree, str(REAL_DATA / HEADERS), reports_root=str((REAL_DATA / REPORTS).parent)
    )
    steps = openi.read(config).funnel.steps
    assert [(step.name, step.kept) for step in steps] == [
        ("image of a report", 7470),
        ("report readable, ids unique", 7470),
        ("view PA or AP", 4016),
        ("text in impression, findings", 4004),
        ("file present", 4004),
    ]
    assert steps[0].published == 7470
    assert steps[2].note == "unknown 2,587, LL 717, LATERAL 119, RL 29, LARGE LATERAL 2"
