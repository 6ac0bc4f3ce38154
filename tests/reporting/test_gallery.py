import json

import pytest

from mflag.errors import InputError
from mflag.reporting.gallery import Picture, gallery, read_pictures, write_pictures

PICTURES = [
    Picture(b"\x89PNG first", "study <1>", "Edema", "Hazy <script>."),
    Picture(b"\x89PNG second", "study 2", "no finding"),
]


def test_pictures_are_read_as_they_were_written(tmp_path):
    write_pictures(PICTURES, tmp_path)
    assert read_pictures(tmp_path) == PICTURES


@pytest.mark.parametrize("wrote", [True, False])
def test_without_pictures_there_is_no_folder(tmp_path, wrote):
    if wrote:
        write_pictures([], tmp_path)
    assert read_pictures(tmp_path) == [] and not list(tmp_path.iterdir())


def test_text_of_a_picture_is_escaped_and_an_empty_one_left_out():
    page = gallery(PICTURES)
    assert "<script>" not in page and 'alt="study &lt;1&gt;"' in page
    assert page.count("<div>") == 1 and page.count("</img>") == 0


@pytest.mark.parametrize("damage", ["picture", "list", "field"])
def test_a_damaged_folder_is_named(tmp_path, damage):
    write_pictures(PICTURES, tmp_path)
    listed = tmp_path / "pictures" / "pictures.json"
    if damage == "picture":
        (tmp_path / "pictures" / "001.png").unlink()
    else:
        listed.write_text("{" if damage == "list" else json.dumps({"pictures": [{"file": "x"}]}))
    with pytest.raises(InputError, match="pictures.json does not fit its pictures"):
        read_pictures(tmp_path)
