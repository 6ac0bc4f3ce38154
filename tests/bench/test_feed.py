"""Every feed and peer is measured on real files, or named with the reason."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from PIL import Image

from bench import feed
from bench.feed_table import feed_table
from bench.feeding.files import forget, make_files
from bench.feeding.readers import Asked, readers
from mflag.data.feeds import FEEDS

SIDE, COUNT = 80, 8


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("files"), SIDE, COUNT)


@pytest.fixture(scope="module")
def measured(files, tmp_path_factory):
    skipped: list[dict[str, str]] = []
    work = tmp_path_factory.mktemp("work")
    asked = Asked(files, 4, 224, 0, torch.device("cpu"), work)
    return feed.measure_all(asked, 0.02, skipped), skipped


def test_files_are_grey_jpegs_of_the_size_and_prepared(files):
    assert len(files.paths) == COUNT == len(files.prepared)
    with Image.open(files.paths[-1]) as image:
        assert image.size == (SIDE, SIDE) and image.mode == "L" and image.format == "JPEG"
    assert files.mean_bytes > 0 and files.prepare_images_per_second > 0


def test_every_reader_is_measured_or_named(measured):
    rows, skipped = measured
    names = {row["name"] for row in rows} | {line["what"].split(f" {SIDE}")[0] for line in skipped}
    assert names == set(readers()) and set(FEEDS) <= names
    assert {"cache", "torch", "PIL"} <= {row["name"] for row in rows}
    assert all(row["warm_images_per_second"] > 0 < row["cold_images_per_second"] for row in rows)


@pytest.mark.parametrize("name", ["webdataset", "ffcv"])
def test_a_peer_that_is_not_installed_is_named(measured, name):
    if importlib.util.find_spec(name) is not None:
        pytest.skip(f"{name} is installed")
    reasons = [line["reason"] for line in measured[1] if line["what"].startswith(name)]
    assert len(reasons) == 1 and "No module named" in reasons[0]


def test_forgotten_files_keep_their_content(files):
    before = [path.read_bytes() for path in files.paths]
    forget(files.paths)
    assert [path.read_bytes() for path in files.paths] == before


@pytest.mark.parametrize("rungs, rate", [([], None), ([1.0, 12.5], 12.5)])
def test_consumption_is_that_of_the_last_rung(tmp_path, rungs, rate):
    assert feed.consumption(tmp_path) is None
    rows = [{"images_per_second": one} for one in rungs]
    (tmp_path / "train.json").write_text(json.dumps({"rungs": rows}))
    assert feed.consumption(tmp_path) == rate


def test_the_table_compares_with_training(measured):
    rows, skipped = measured
    content = {
        "command": "c", "device": {"cpu": "x", "threads": 1, "load_before": 0},
        "versions": {"commit": "abc"}, "workers": 0, "batch_size": 4, "files": COUNT,
        "rows": rows, "prepare": [{"side": 80, "mean_bytes": 1e3, "images_per_second": 5.0}],
        "consumption": 2.0, "skipped": skipped,
    }  # fmt: skip
    lines = feed_table(content).splitlines()
    ratio = f"{np.round(rows[0]['warm_images_per_second'] / 2, 1):,.1f} ×"
    assert ratio in next(line for line in lines if line.startswith("| cache |"))
