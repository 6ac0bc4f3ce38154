import pytest

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
