import errno

import pytest

from mflag.errors import InputError
from mflag.runtime.atomic_write import (
    atomic_write,
    check_writable,
    remove_leftovers,
    write_json,
    write_text,
)


def test_the_file_has_all_its_bytes(tmp_path):
    with atomic_write(tmp_path / "new" / "file") as file:
        file.write(b"abc")
    assert (tmp_path / "new" / "file").read_bytes() == b"abc"


def test_an_error_on_the_way_keeps_the_old_file_and_leaves_no_temporary_one(tmp_path):
    write_text(tmp_path / "file", "old")
    with pytest.raises(RuntimeError), atomic_write(tmp_path / "file") as file:
        file.write(b"half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(InputError, match="cannot write .*file"), atomic_write(tmp_path / "file"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_folder_below_a_file_is_an_error(tmp_path):
    write_text(tmp_path / "file", "")
    with pytest.raises(InputError, match="cannot write"):
        write_json(tmp_path / "file" / "below.json", {})


def test_json_without_nan(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"value": float("nan")})
    assert not list(tmp_path.iterdir())


def test_check_writable_leaves_no_trace(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_check_writable_refuses_a_file_on_the_way(tmp_path):
    write_text(tmp_path / "file", "")
    with pytest.raises(InputError, match="cannot write into"):
        check_writable(tmp_path / "file" / "b")


def test_leftovers_of_a_killed_writer_are_removed(tmp_path):
    (tmp_path / ".file.abc.part").touch()
    (tmp_path / "file").touch()
    remove_leftovers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
