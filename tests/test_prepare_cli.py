"""``python -m mflag.prepare`` as people call it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mflag import cli
from mflag.config.prepare import PrepareConfig
from mflag.data.manifest import open_prepared
from mflag.prepare import main

ROOT = Path(__file__).parents[1]
REAL_DATA = Path(os.environ.get("MFLAG_REAL_DATA", ROOT.parent / "shared" / "data"))


def run_prepare(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mflag.prepare", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def studies(tmp_path):
    """A folder to work in, with five images and their table."""
    (tmp_path / "images").mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    names = [f"{number}.png" for number in range(5)]
    table = pd.DataFrame({"image": names, "text": [f"Report {name}." for name in names]})
    table.to_csv(tmp_path / "studies.csv", index=False)
    return tmp_path


CSV = ("dataset=csv", "root=images", "csv=studies.csv", "out=made/out")


def test_a_table_is_prepared_and_its_funnel_shown(studies):
    done = run_prepare(studies, *CSV)
    assert (done.returncode, done.stderr) == (0, "")
    assert "image readable" in done.stdout
    assert "5 studies in made/out: train 3, valid 1, test 1" in done.stdout


def test_generated_studies_need_no_more_than_a_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["prepare", "dataset.size=3", "workers=1"])
    cli.run(main, "prepare", PrepareConfig)
    assert len(open_prepared(tmp_path / "data" / "phantom", check_hashes=True)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dataset=csv", "root=nowhere", "csv=studies.csv"), "root is 'nowhere'"),
        ((*CSV, "dataset.text_column=report"), "no column 'report'; it has: image, text"),
        ((*CSV, "max_reject_fraction=2"), "max_reject_fraction is 2"),
        (("dataset=phantom", "dataset.size=0"), "dataset.size is 0"),
        (("dataset=phantom", "root=images"), "dataset=phantom does not read it"),
        (("dataset=csv",), "csv is missing"),
        (("dataset=nix",), "nix"),
        ((*CSV, "dataset.colour=red"), "colour"),
    ],
    ids=["root", "column", "fraction", "size", "other dataset's key", "no csv", "dataset", "key"],
)
def test_bad_input_gives_one_line_and_leaves_nothing(
    studies, monkeypatch, capsys, arguments, message
):
    before = sorted(studies.rglob("*"))
    monkeypatch.chdir(studies)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["prepare", *arguments])
    with pytest.raises(SystemExit, match="^2$"):
        cli.run(main, "prepare", PrepareConfig)  # here: a process an error would take a minute
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith("error: ") and message in printed.err
    assert sorted(studies.rglob("*")) == before


def test_too_many_broken_images_leave_nothing(studies):
    (studies / "images" / "1.png").write_bytes(b"")
    before = sorted(studies.rglob("*"))
    done = run_prepare(studies, *CSV)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: 1 of 5 studies") and "1.png: zero bytes" in done.stderr
    assert sorted(studies.rglob("*")) == before
