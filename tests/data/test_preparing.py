import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mflag.config.prepare import PrepareConfig
from mflag.data.images import read_image
from mflag.data.lesions import runs_to_mask
from mflag.data.manifest import open_prepared
from mflag.data.phantom import generate_study
from mflag.data.preparing import prepare, prepare_phantom
from mflag.errors import InputError

# Prepares with the options of argv[1] and dies by SIGKILL in the middle of its second note.
KILLED = """
import json, os, signal, sys
from omegaconf import OmegaConf
from mflag.config.prepare import PrepareConfig
from mflag.data import preparing
from mflag.data.partial_images import PartialImages
options = OmegaConf.merge(OmegaConf.structured(PrepareConfig), json.loads(sys.argv[1]))
note, notes = PartialImages.note, []
def note_or_die(self, chunk, results):
    if notes:
        with open(self.folder / "done.jsonl", "a") as file:
            file.write('{"chunk": 1, "resu')
        os.kill(os.getpid(), signal.SIGKILL)
    notes.append(chunk)
    note(self, chunk, results)
PartialImages.note = note_or_die
preparing.prepare(OmegaConf.to_object(options))
"""


def contents(folder: str | None) -> dict[str, bytes]:
    assert folder is not None
    return {p.name: p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def test_prepared_folder_opens_with_all_its_hashes(csv_dataset):
    config = csv_dataset(12)
    prepare(config)
    assert len(open_prepared(config.out, check_hashes=True)) == 12


def test_rows_keep_the_order_of_the_table_and_their_images(csv_dataset):
    config = csv_dataset(40)
    prepared = prepare(config)
    assert prepared.manifest["id"].tolist() == [f"{n:03}.png" for n in range(40)]
    for row in (0, 17, 39):
        expected = read_image(Path(str(config.root)) / prepared.manifest["id"][row])
        assert np.array_equal(prepared.images[row], expected)


def test_prepared_json_says_what_is_there(csv_dataset):
    info = prepare(csv_dataset(40)).info
    assert (info["format"], info["dataset"], info["count"], info["image_size"]) == (
        2, "csv", 40, 256,
    )  # fmt: skip
    assert (sum(info["splits"].values()), info["patients"], info["rejected"]) == (40, 20, 0)


def test_equal_options_give_equal_bytes(csv_dataset, tmp_path):
    config = csv_dataset(40, pneumonia=[0, 1] * 20)
    prepare(config)
    first = contents(config.out)
    config.out, config.workers = str(tmp_path / "again"), 1
    prepare(config)
    assert contents(config.out) == first


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(csv_dataset, tmp_path, capsys):
    config = csv_dataset(40)
    (Path(str(config.root)) / "020.png").write_bytes(b"")
    options = dataclasses.asdict(config)
    killed = subprocess.run([sys.executable, "-c", KILLED, json.dumps(options)], timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert not (Path(str(config.out)) / "prepared.json").exists()
    prepare(config)
    resumed = contents(config.out)
    assert "going on after" in capsys.readouterr().err
    config.out = str(tmp_path / "undisturbed")
    prepare(config)
    assert contents(config.out) == resumed


def test_a_killed_run_does_not_go_on_with_other_images_of_equal_number(csv_dataset):
    config = csv_dataset(40)
    hidden = Path(str(config.root)) / "000.png"
    hidden.rename(hidden.with_suffix(".bak"))
    options = json.dumps(dataclasses.asdict(config))
    killed = subprocess.run([sys.executable, "-c", KILLED, options], timeout=120)
    assert killed.returncode == -signal.SIGKILL
    hidden.with_suffix(".bak").rename(hidden)
    (Path(str(config.root)) / "039.png").unlink()
    with pytest.raises(InputError, match="unfinished run with other options or images"):
        prepare(config)
    config.overwrite = True
    prepared = prepare(config)
    first = read_image(Path(str(config.root)) / prepared.manifest["id"][0])
    assert np.array_equal(prepared.images[0], first)


def test_a_finished_run_is_not_repeated(csv_dataset, capsys):
    config = csv_dataset(12)
    prepare(config)
    before = (Path(str(config.out)) / "images.u8").stat().st_mtime_ns
    prepare(config)
    assert "prepared already" in capsys.readouterr().out
    assert (Path(str(config.out)) / "images.u8").stat().st_mtime_ns == before


def test_other_options_in_the_same_folder_are_refused(csv_dataset):
    config = csv_dataset(12)
    prepare(config)
    before = contents(config.out)
    config.dataset.label_columns = []
    with pytest.raises(InputError, match=r"other options \(label_columns None, now \[\]\)"):
        prepare(config)
    assert contents(config.out) == before


def test_overwrite_replaces_every_file_of_the_old_run(csv_dataset):
    config = csv_dataset(12)
    prepare_phantom(config.out, 2, 0, workers=1)
    config.overwrite = True
    assert len(prepare(config)) == 12
    assert sorted(contents(config.out)) == [
        "funnel.json", "images.u8", "manifest.parquet", "prepared.json", "rejected.csv",
    ]  # fmt: skip


def test_a_refused_overwrite_leaves_the_old_run_whole(csv_dataset):
    config = csv_dataset(12)
    prepare(config)
    before = contents(config.out)
    for image in Path(str(config.root)).glob("*.png"):
        image.write_bytes(b"")
    config.overwrite = True
    with pytest.raises(InputError):
        prepare(config)
    assert contents(config.out) == before


def test_files_that_prepare_did_not_finish_are_not_replaced(csv_dataset):
    config = csv_dataset(12)
    Path(str(config.out)).mkdir(parents=True)
    (Path(str(config.out)) / "images.u8").write_text("precious")
    with pytest.raises(InputError, match="no finished prepare"):
        prepare(config)
    assert (Path(str(config.out)) / "images.u8").read_text() == "precious"


def spoil(config: PrepareConfig) -> None:
    """Make five of forty studies unusable, each in its own way."""
    root = Path(str(config.root))
    (root / "000.png").unlink()
    (root / "001.png").write_bytes(b"")
    (root / "002.png").write_bytes((root / "002.png").read_bytes()[:200])
    Image.new("L", (9, 9), 5).save(root / "003.png")
    (root / "004.png").write_text("junk")


REASONS = [
    ("000.png", "missing file"),
    ("001.png", "zero bytes"),
    ("002.png", "truncated or damaged"),
    ("003.png", "constant image"),
    ("004.png", "not an image (PNG, JPEG or DICOM)"),
    ("005.png", "empty report"),
    ("../studies.csv", "path leaves root"),
]


def spoilt(csv_dataset) -> PrepareConfig:
    texts = [f"Report {n}." if n != 5 else "  " for n in range(40)]
    images = [f"{n:03}.png" if n != 6 else "../studies.csv" for n in range(40)]
    config = csv_dataset(40, text=texts, image=images)
    spoil(config)
    config.max_reject_fraction = 0.2
    return config


def test_bad_studies_are_listed_with_their_reasons(csv_dataset):
    config = spoilt(csv_dataset)
    prepare(config)
    listed = pd.read_csv(Path(str(config.out)) / "rejected.csv")
    assert list(listed.itertuples(index=False, name=None)) == REASONS


def test_good_studies_stay_with_their_own_images_when_others_are_rejected(csv_dataset):
    config = spoilt(csv_dataset)
    prepared = prepare(config)
    assert prepared.manifest["id"].tolist() == [f"{n:03}.png" for n in range(7, 40)]
    expected = read_image(Path(str(config.root)) / "030.png")
    assert np.array_equal(prepared.images[30 - 7], expected)


def test_funnel_counts_what_each_filter_left(csv_dataset):
    config = spoilt(csv_dataset)
    prepare(config)
    funnel = json.loads((Path(str(config.out)) / "funnel.json").read_text())
    assert funnel["format"] == 2
    assert [(step["name"], step["kept"], step["dropped"]) for step in funnel["steps"]] == [
        ("rows of studies.csv", 40, 0),
        ("image named", 40, 0),
        ("path inside root", 39, 1),
        ("file present", 38, 1),
        ("report not empty", 37, 1),
        ("image readable", 33, 4),
    ]


def test_too_many_bad_studies_stop_the_run_and_leave_nothing(csv_dataset, tmp_path):
    config = spoilt(csv_dataset)
    config.max_reject_fraction = 0.1
    with pytest.raises(InputError, match=r"of 40 studies .* max_reject_fraction=0.1; the first: 0"):
        prepare(config)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_hopeless_run_stops_early_with_one_message(csv_dataset, recwarn, capfd, workers):
    config = csv_dataset(200)
    for image in Path(str(config.root)).glob("*.png"):
        image.write_bytes(b"")
    config.workers = workers
    with pytest.raises(InputError, match="[0-9]+ of 200 studies") as caught:
        prepare(config)
    assert workers > 1 or str(caught.value).startswith("32 of 200")  # 2 chunks: 20 may be bad
    assert not recwarn.list and capfd.readouterr() == ("", "")


def test_nothing_left_is_refused_even_when_all_may_be_rejected(csv_dataset, tmp_path):
    config = csv_dataset(4)
    for image in Path(str(config.root)).glob("*.png"):
        image.write_bytes(b"")
    config.max_reject_fraction = 1.0
    with pytest.raises(InputError, match="4 of 4 studies"):
        prepare(config)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("max_reject_fraction", 1.5, "max_reject_fraction is 1.5; give 0 to 1"),
        ("workers", 0, "workers is 0; give 1 or more"),
    ],
)
def test_numbers_out_of_range_are_refused(csv_dataset, key, value, message):
    config = csv_dataset(4)
    setattr(config, key, value)
    with pytest.raises(InputError, match=message):
        prepare(config)


def test_out_that_is_a_file_is_refused(csv_dataset):
    config = csv_dataset(4)
    config.out = config.csv
    with pytest.raises(InputError, match="which is no folder"):
        prepare(config)


def test_out_below_a_file_cannot_be_written(csv_dataset):
    config = csv_dataset(4)
    config.out = f"{config.csv}/out"
    with pytest.raises(InputError, match="cannot write"):
        prepare(config)


def test_unknown_dataset_is_refused_with_those_there_are(csv_dataset):
    config = csv_dataset(4)
    config.dataset.name = "nix"
    with pytest.raises(InputError, match="dataset is 'nix'; choose one of .*csv, .*phantom"):
        prepare(config)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return prepare_phantom(tmp_path_factory.mktemp("phantom") / "out", 8, 3, workers=1)


def test_generated_studies_come_with_labels_and_attributes(phantom):
    study = generate_study(3, 5)
    row = phantom.manifest.iloc[5]
    assert (row["id"], row["patient"], row["text"]) == (study.id, study.patient, study.text)
    assert {name: row[f"label/{name}"] for name in phantom.labels} == study.labels
    assert {name: row[f"attribute/{name}"] for name in phantom.attributes} == pytest.approx(
        study.attributes
    )


def test_lesion_masks_are_read_back_as_they_were_drawn(phantom):
    table = pd.read_parquet(phantom.path / "lesions.parquet")
    lesions = [lesion for index in range(8) for lesion in generate_study(3, index).lesions]
    assert len(table) == len(lesions) > 0
    masks = [runs_to_mask(runs, (256, 256)) for runs in table["runs"].to_numpy()]
    assert all(np.array_equal(m, lesion.mask) for m, lesion in zip(masks, lesions, strict=True))
    boxes = table[["x", "y", "width", "height"]].to_numpy().tolist()
    assert boxes == [list(lesion.box) for lesion in lesions]


def test_generated_studies_are_opened_when_they_are_there(phantom, capsys):
    again = prepare_phantom(phantom.path, 8, 3)
    assert again.info == phantom.info and "prepared already" in capsys.readouterr().out
