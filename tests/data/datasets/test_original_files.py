"""Every reader notes the file that an image came from."""

import os
from pathlib import Path

import numpy as np
import pytest

from mflag.data.images import read_image
from mflag.data.original_files import OriginalFiles
from mflag.data.preparing import prepare
from mflag.errors import InputError
from tests.data import challenge_trees
from tests.data.datasets import label_trees, test_mimic_cxr, test_openi
from tests.data.datasets.mimic_tree import MimicTree


def challenge(name):
    def make(root: Path):
        root.mkdir()
        {"rsna": challenge_trees.write_rsna, "siim": challenge_trees.write_siim}[name](root)
        return challenge_trees.config_of(name, root)

    return make


def mimic(root: Path):
    tree = MimicTree(root)
    tree.write()
    return test_mimic_cxr.config_of(tree)


def openi(root: Path):
    return test_openi.config_of(test_openi.OpeniTree(root).write())


READERS = {
    "chexpert": label_trees.make_chexpert,
    "nih": label_trees.make_nih,
    "mimic_cxr": mimic,
    "openi": openi,
    "rsna": challenge("rsna"),
    "siim": challenge("siim"),
}


@pytest.mark.parametrize("name", READERS)
def test_the_noted_file_of_every_row_holds_its_image(tmp_path, name):
    prepared = prepare(READERS[name](tmp_path / name))
    files = OriginalFiles(prepared)
    assert len(prepared) > 5
    for row in range(len(prepared)):
        assert np.array_equal(read_image(files.path(row)), prepared.images[row])
        assert len(files.read(row)) == os.path.getsize(files.path(row))


def test_a_file_that_vanishes_while_it_is_prepared_is_named(tmp_path, monkeypatch):
    config = READERS["nih"](tmp_path / "nih")

    def getsize(path):
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(os.path, "getsize", getsize)
    with pytest.raises(InputError, match=r"\.png vanished while it was prepared"):
        prepare(config)
