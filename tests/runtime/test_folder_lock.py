import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from mflag.errors import InputError
from mflag.runtime.folder_lock import FolderLock

HOLD = """
import sys, time
from mflag.runtime.folder_lock import FolderLock
FolderLock(sys.argv[1], "mflag.train").acquire()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds ``tmp_path/run``."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_is_refused_and_told_who_holds_it(holder, tmp_path):
    who = f"run is in use by mflag.train, process {holder.pid} on "
    with pytest.raises(InputError, match=who), FolderLock(tmp_path / "run", "mflag.train") as lock:
        lock.acquire()
    assert (tmp_path / "run" / ".lock").exists()


def test_the_lock_of_a_killed_process_is_taken_over(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / ".lock").exists()
    with FolderLock(tmp_path / "run", "mflag.prepare") as lock:
        lock.acquire()
        assert (tmp_path / "run" / ".lock").read_text().startswith("mflag.prepare, process ")
    assert not (tmp_path / "run" / ".lock").exists()


def test_folders_that_were_made_and_stay_empty_go_again(tmp_path):
    with FolderLock(tmp_path / "a" / "b", "mflag.train") as lock:
        lock.acquire()
    assert not list(tmp_path.iterdir())


def test_a_folder_with_content_stays(tmp_path):
    with FolderLock(tmp_path / "a", "mflag.train") as lock:
        lock.acquire()
        (tmp_path / "a" / "encoder.safetensors").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["encoder.safetensors"]


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(InputError, match="run is a file; give a folder"):
        FolderLock(tmp_path / "run", "mflag.train").acquire()


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="choose another folder"):
        FolderLock(tmp_path / "file" / "run", "mflag.train").acquire()


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, capsys):
    def refuse(handle, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with FolderLock(tmp_path / "run", "mflag.train") as lock:
        lock.acquire()
    assert "without locks" in capsys.readouterr().err


def test_a_lock_file_that_its_holder_removed_is_made_again(tmp_path, monkeypatch):
    flock, calls = fcntl.flock, []

    def removed_meanwhile(handle, operation):
        flock(handle, operation)
        calls.append(handle)
        if len(calls) == 1:
            os.unlink(tmp_path / ".lock")

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    with FolderLock(tmp_path, "mflag.train") as lock:
        lock.acquire()
        assert len(calls) == 2 and (tmp_path / ".lock").exists()
