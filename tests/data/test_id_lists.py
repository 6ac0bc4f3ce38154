import pandas as pd
import pytest

from mflag.data.id_lists import read_id_list, select_listed, split_by_lists
from mflag.errors import InputError

IMAGES = pd.Series(["a1", "a2", "b1", "c1"], index=[10, 11, 12, 13])
PATIENTS = pd.Series(["a", "a", "b", "c"], index=IMAGES.index)


@pytest.fixture
def write(tmp_path):
    def make(content: str | bytes, name: str = "test.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_id_list(path, "dataset.test_ids")

    return make


@pytest.mark.parametrize(
    "content",
    ["a\nb\n", "a\nb", "a\r\nb\r\n", "\ufeffa\nb\n", " a \nb\n\n"],
    ids=["newline", "no last newline", "Windows", "byte order mark", "blanks"],
)
def test_a_list_is_its_lines(write, content):
    assert write(content).ids == ["a", "b"]


def test_a_patient_means_all_its_images_and_may_come_once_an_image(write):
    assert select_listed(write("a\na\nc\n"), IMAGES, PATIENTS).tolist() == [True, True, False, True]


def test_an_image_means_itself_also_beside_patients(write):
    assert select_listed(write("a2\nb\n"), IMAGES, PATIENTS).tolist() == [False, True, True, False]


def test_lines_are_spelled_as_the_table_before_they_are_looked_up(write):
    rows = select_listed(write("B\n"), IMAGES, PATIENTS, str.lower)
    assert rows.tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\nx\nx\ny\nz\nw\n", r"names 'x', 'y', 'z' and 1 more, which the label table does not"),
        ("patient\na\nb\n", "names 'patient', .*; a list has no header line"),
        ("a1\nb\na1\n", "names 'a1' more than once"),
    ],
    ids=["unknown", "header", "image twice"],
)
def test_a_list_that_does_not_fit_the_table_is_refused_by_its_lines(write, content, message):
    with pytest.raises(InputError, match=message):
        select_listed(write(content), IMAGES, PATIENTS)


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "is empty"), ("\n \n", "is empty"), (b"\xff\xfe\x00", "cannot be read as text")],
)
def test_a_file_without_ids_is_refused(write, content, message):
    with pytest.raises(InputError, match=f"dataset.test_ids .*{message}"):
        write(content)


def test_a_missing_list_is_refused_by_its_key():
    with pytest.raises(InputError, match="dataset.valid_ids is 'nowhere.txt', which is no file"):
        read_id_list("nowhere.txt", "dataset.valid_ids")


def test_rows_of_no_list_have_no_split(write):
    split = split_by_lists({"test": write("b\n"), "valid": write("c1", "v")}, IMAGES, PATIENTS)
    assert split.to_dict() == {10: "", 11: "", 12: "test", 13: "valid"}


def test_lists_that_mean_the_same_image_are_refused_though_they_name_it_differently(write):
    lists = {"test": write("a\n"), "valid": write("a2\n", "v.txt")}
    with pytest.raises(InputError, match=r"test.csv and .*v.txt both mean 'a2'"):
        split_by_lists(lists, IMAGES, PATIENTS)
