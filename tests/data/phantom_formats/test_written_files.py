"""What is written looks as the real datasets do, and holds what was drawn."""

import gzip
import re
import tarfile
import zipfile
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

from mflag.data.phantom import LABELS
from mflag.data.phantom_formats.dicom_files import STORAGES, dicom_bytes, uid
from mflag.data.phantom_formats.facts import Facts, first_study
from mflag.data.phantom_formats.label_names import CHEXPERT, NIH, NIH_OF, nih_labels, report_labels
from mflag.data.phantom_formats.mimic_cxr import study_id, subject_id
from mflag.data.phantom_formats.report_text import sections
from mflag.data.run_lengths import encode_mask
from tests.data.phantom_formats.trees import SIZE


def decoded(runs: str, side: int) -> np.ndarray:
    """The challenge's own way back: cumulative offsets, then a transposed square."""
    flat, end = np.zeros(side * side, bool), 0
    for offset, length in np.array(runs.split(), int).reshape(-1, 2):
        flat[end + offset : end + offset + length] = True
        end += offset + length
    return flat.reshape(side, side).T


@pytest.mark.parametrize("density", [0.02, 0.5, 0.98])
def test_relative_runs_come_back_as_the_mask(density):
    mask = np.random.default_rng(0).random((64, 64)) < density
    assert np.array_equal(decoded(encode_mask(mask), 64), mask)


@pytest.mark.parametrize("corner", [(0, 0), (0, -1), (-1, 0), (-1, -1)])
def test_a_run_may_lie_in_any_corner(corner):
    mask = np.zeros((64, 64), bool)
    mask[corner] = True
    assert np.array_equal(decoded(encode_mask(mask), 64), mask)


def test_a_hand_made_mask_is_encoded_down_the_columns_and_relative():
    mask = np.zeros((4, 4), bool)
    mask[1:3, 0] = mask[0, 2] = True
    assert encode_mask(mask) == "1 2 5 1"


@pytest.mark.parametrize("index", range(len(STORAGES)), ids=[str(s) for s in STORAGES])
def test_every_storage_of_a_dicom_file_holds_the_same_picture(index):
    facts = Facts(0, index)
    image = facts.study.image
    content = dicom_bytes(image, facts, "someone", uid(facts, "image"))
    dataset = pydicom.dcmread(BytesIO(content))
    pixels = dataset.pixel_array.astype(int)
    storage = STORAGES[index]
    assert dataset.BitsStored == storage.bits
    assert (dataset.PhotometricInterpretation == "MONOCHROME1") == storage.is_inverted
    shown = 2**storage.bits - 1 - pixels if storage.is_inverted else pixels
    off = np.abs(shown / (2**storage.bits - 1) * 255 - image)
    assert off.max() <= (40 if storage.is_jpeg else 1)
    assert off.mean() <= (2 if storage.is_jpeg else 1)


def test_storages_cover_8_and_12_bits_inverted_or_not_and_packed():
    kinds = {(s.bits, s.is_inverted, s.is_jpeg) for s in STORAGES}
    assert kinds >= {(8, False, False), (8, True, False), (12, False, False), (12, True, False)}
    assert (8, False, True) in kinds


def test_ids_of_mimic_patients_and_studies_never_come_twice():
    numbers = range(20_000)
    assert len({subject_id(n) for n in numbers}) == len({study_id(n) for n in numbers}) == 20_000
    assert {str(subject_id(n))[0] + str(study_id(n))[0] for n in numbers} == {"15"}
    assert {len(str(subject_id(n))) + len(str(study_id(n))) for n in numbers} == {16}


def test_the_first_study_of_a_patient_is_found():
    firsts = [first_study(5, number) for number in range(20)]
    facts = [Facts(5, index) for index in firsts]
    assert [f.number for f in facts] == list(range(20))
    assert {f.visit for f in facts} == {0}


@pytest.fixture(scope="module")
def studies(trees):
    return [facts.study for facts in trees.studies("csv")]


def test_chexpert_names_every_label():
    assert set(CHEXPERT) == set(LABELS)


def test_labels_of_reports_are_what_the_reports_say(studies):
    for study in studies:
        read = report_labels(study)
        assert tuple(read) == CHEXPERT
        said = {name: value for name, value in read.items() if value is not None}
        assert said == {name: v for name, v in study.mentions.items() if not np.isnan(v)}
    assert any(-1.0 in report_labels(study).values() for study in studies)


def test_a_labeller_without_doubts_states_what_the_other_hedges(studies):
    for study in studies:
        sure, unsure = report_labels(study, doubts=False), report_labels(study)
        assert -1.0 not in sure.values()
        assert {name for name in CHEXPERT if sure[name] != unsure[name]} == {
            name for name in CHEXPERT if unsure[name] == -1.0
        }


def test_nih_names_what_was_drawn_as_it_would(studies):
    assert {name for name in NIH_OF.values() if name} == set(NIH) - {"Emphysema", "Hernia"}
    for study in studies:
        assert ("Effusion" in nih_labels(study)) == bool(study.labels["Pleural Effusion"])
        sizes = [lesion.size_mm for lesion in study.lesions if lesion.finding == "Lung Lesion"]
        assert ("Mass" in nih_labels(study)) == any(size >= 30 for size in sizes)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("FINDINGS: A b. IMPRESSION: C.", {"findings": "A b.", "impression": "C."}),
        ("Summary: C. Findings: A b.", {"findings": "A b.", "impression": "C."}),
        ("FINDINGS: A b.", {"findings": "A b."}),
        ("A b. C.", {"body": "A b. C."}),
    ],
)
def test_reports_are_taken_apart_at_their_headers(text, parts):
    assert sections(text) == parts


def test_mimic_tree_has_the_release_layout(trees):
    root = trees.raw("mimic_cxr")
    metadata = pd.read_csv(root / "mimic-cxr-2.0.0-metadata.csv.gz")
    splits = pd.read_csv(root / "mimic-cxr-2.0.0-split.csv.gz")
    assert set(metadata["ViewPosition"].dropna()) <= {"PA", "AP", "LATERAL"}
    assert "LATERAL" in set(metadata["ViewPosition"])
    assert metadata["study_id"].duplicated().any()  # several images a study
    assert set(splits["split"]) <= {"train", "validate", "test"}
    for row in metadata.itertuples():
        patient = root / "files" / f"p{row.subject_id}"[:3] / f"p{row.subject_id}"
        assert re.fullmatch(r"([0-9a-f]{8}-){4}[0-9a-f]{8}", str(row.dicom_id))
        with Image.open(patient / f"s{row.study_id}" / f"{row.dicom_id}.jpg") as image:
            assert (image.mode, image.size) == ("L", (row.Columns, row.Rows))
        assert (patient / f"s{row.study_id}.txt").is_file()
    labels = pd.read_csv(root / "mimic-cxr-2.0.0-chexpert.csv.gz")
    assert list(labels)[2:] == sorted(CHEXPERT)
    assert labels["study_id"].is_unique


def test_mimic_reports_are_set_as_the_real_ones(trees):
    reports = [path.read_text() for path in trees.raw("mimic_cxr").rglob("s*.txt")]
    assert len(reports) == SIZE
    for report in reports:
        lines = report.splitlines()
        assert lines[0].strip() == "FINAL REPORT"
        assert all(line.startswith(" ") and len(line) <= 79 for line in lines)
        assert re.search(r"\n INDICATION:\s", report)


def test_chexpert_tree_has_the_release_layout(trees):
    root = trees.raw("chexpert")
    train, valid = (pd.read_csv(root / f"{name}.csv") for name in ("train", "valid"))
    for table in (train, valid):
        for path in table["Path"]:
            release, rest = path.split("/", 1)
            assert release == "CheXpert-v1.0-small"
            assert (root / rest).is_file()
        assert (table["AP/PA"].isna() == (table["Frontal/Lateral"] == "Lateral")).all()
    pattern = r"CheXpert-v1.0-small/train/patient\d{5}/study\d/view\d_(frontal|lateral)\.jpg"
    assert train["Path"].str.fullmatch(pattern).all()
    labels = train[list(CHEXPERT)]
    assert (labels == -1).any(axis=None)
    assert set(train["No Finding"].dropna()) <= {1.0}
    assert set(np.unique(valid[list(CHEXPERT)])) == {0.0, 1.0}
    assert valid["Path"].str.extract(r"patient(\d+)")[0].astype(int).gt(64540).all()


def test_nih_tree_has_the_release_layout(trees):
    root = trees.raw("nih")
    table = pd.read_csv(root / "Data_Entry_2017_v2020.csv")
    assert len(table.columns) == 11
    found = {path.name: path for path in root.glob("images_*/images/*.png")}
    assert set(found) == set(table["Image Index"])
    modes = set()
    for path in found.values():
        with Image.open(path) as image:
            assert image.size == (1024, 1024)
            modes.add(image.mode)
    assert modes == {"L", "RGBA"}
    listed = [(root / f"{n}.txt").read_text().split() for n in ("train_val_list", "test_list")]
    assert sorted(listed[0] + listed[1]) == sorted(table["Image Index"])
    boxes = pd.read_csv(root / "BBox_List_2017.csv")
    assert list(boxes)[:6] == ["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"]
    assert set(boxes["Image Index"]) <= set(table["Image Index"])
    assert len(boxes)


def test_rsna_boxes_are_the_opacities_of_pneumonia(trees):
    root = trees.raw("rsna")
    table = pd.read_csv(root / "stage_2_train_labels.csv")
    drawn = [
        [4.0 * side for side in lesion.box]
        for facts in trees.studies("rsna")
        for lesion in facts.study.lesions
        if lesion.finding in ("Consolidation", "Pneumonia") or lesion.kind == "haze"
    ]
    positive = table[table["Target"] == 1]
    assert positive[["x", "y", "width", "height"]].to_numpy().tolist() == drawn
    assert table[table["Target"] == 0][["x", "y", "width", "height"]].isna().all(axis=None)
    assert (
        table["patientId"].nunique() == len(list(root.glob("stage_2_train_images/*.dcm"))) == SIZE
    )


def test_siim_masks_are_the_pneumothoraces(trees):
    root = trees.raw("siim")
    table = pd.read_csv(root / "train-rle.csv")
    assert list(table) == ["ImageId", " EncodedPixels"]
    files = {path.stem for path in root.glob("dicom-images-train/*/*/*.dcm")}
    assert files == set(table["ImageId"])
    of_image = table.groupby("ImageId", sort=False)
    for facts, (_, rows) in zip(trees.studies("siim"), of_image, strict=True):
        drawn = np.zeros((256, 256), bool)
        for lesion in facts.study.lesions:
            if lesion.finding == "Pneumothorax":
                drawn |= lesion.mask
        union = np.zeros((1024, 1024), bool)
        for runs in rows[" EncodedPixels"]:
            if runs.strip() != "-1":
                union |= decoded(runs, 1024)
        assert np.array_equal(union, np.kron(drawn, np.ones((4, 4), bool)))
    assert table["ImageId"].duplicated().any()  # some have several masks
    assert 2 <= (of_image[" EncodedPixels"].first() != " -1").sum() <= SIZE // 2


def test_openi_archive_names_every_image(trees):
    root = trees.raw("openi")
    images = {path.stem for path in (root / "NLMCXR_png").glob("*.png")}
    named = []
    with tarfile.open(root / "NLMCXR_reports.tgz") as archive:
        for member in archive.getmembers():
            assert re.fullmatch(r"ecgen-radiology/\d+\.xml", member.name)
            content = archive.extractfile(member)
            assert content is not None
            top = ElementTree.fromstring(content.read())
            named += [panel.get("id") for panel in top.iter("parentImage")]
            assert [text.get("Label") for text in top.iter("AbstractText")] == [
                "COMPARISON", "INDICATION", "FINDINGS", "IMPRESSION",
            ]  # fmt: skip
            assert top.findall("MeSH/major")
    assert len(named) == len(images)
    assert set(named) == images


def header(path) -> str:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return archive.read(archive.namelist()[0]).decode().split("\n", 1)[0].strip()
    with gzip.open(path, "rt") as file:
        return file.readline().strip()


@pytest.mark.parametrize(
    ("kind", "file", "real"),
    [
        ("nih", "Data_Entry_2017_v2020.csv", "Data_Entry_2017_v2020.csv.gz"),
        ("nih", "BBox_List_2017.csv", "BBox_List_2017.csv.gz"),
        ("chexpert", "train.csv", "chexpert_train.csv.gz"),
        ("siim", "train-rle.csv", "siim-pneumothorax-train-rle.csv.gz"),
        ("rsna", "stage_2_train_labels.csv", "kaggle_stage_2_train_labels.csv.zip"),
    ],
)
def test_headers_are_those_of_the_real_tables(trees, real_data, kind, file, real):
    written = (trees.raw(kind) / file).read_text().split("\n", 1)[0]
    assert written == header(real_data / "labels" / real)
