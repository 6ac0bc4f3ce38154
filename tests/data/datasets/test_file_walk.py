import os

import pytest

from mflag.data.datasets import nih, openi, siim
from mflag.data.datasets.file_walk import walk_files


def test_links_are_followed_once_and_loops_end(tmp_path):
    (tmp_path / "root" / "b").mkdir(parents=True)
    (tmp_path / "root" / "b" / "x.png").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "y.png").touch()
    (tmp_path / "root" / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "b" / "up").symlink_to(tmp_path / "root")
    found = [os.path.join(*pair) for pair in walk_files(tmp_path / "root")]
    assert [os.path.relpath(path, tmp_path / "root") for path in found] == ["a/y.png", "b/x.png"]


def test_skipped_folders_are_passed_over(tmp_path):
    for name in ("test", "train"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").touch()
    assert list(walk_files(tmp_path, skipped={"test"})) == [(str(tmp_path / "train"), "x.png")]


@pytest.mark.parametrize(
    ("walk", "name", "image"),
    [
        (nih._walk, "00000001_000.png", "00000001_000.png"),
        (siim.find_images, "1.2.3.dcm", "1.2.3"),
        (openi._walk, "CXR1_IM-0001-1001.png", "CXR1_IM-0001-1001"),
    ],
    ids=["nih", "siim", "openi"],
)
def test_images_behind_a_linked_folder_are_found(tmp_path, walk, name, image):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / name).touch()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "images").symlink_to(tmp_path / "disk")
    assert walk(tmp_path / "root", {image}) == {image: str(tmp_path / "root" / "images" / name)}
