import threading

import pytest
import torch

from mflag.errors import InputError
from mflag.runtime import checkpoint_writer
from mflag.runtime.checkpoint import list_checkpoints, read_checkpoint, save_checkpoint
from mflag.runtime.checkpoint_writer import CheckpointWriter, HostCopy


def state(value):
    weights = torch.full((3, 2, 4, 4), value).to(memory_format=torch.channels_last)
    return {"step": int(value), "state": {"w": weights, "groups": [{"lr": torch.tensor(value)}]}}


@pytest.fixture
def gate(monkeypatch):
    """Writing waits until the test opens the gate."""
    opened = threading.Event()

    def slow(*args):
        assert opened.wait(30)
        return save_checkpoint(*args)

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", slow)
    return opened


def test_what_is_written_is_the_state_when_it_was_saved(tmp_path, gate):
    writer, training = CheckpointWriter(tmp_path, 2), state(1.0)
    writer.save(1, training)
    training["state"]["w"].zero_()  # the next step
    assert list_checkpoints(tmp_path) == []
    gate.set()
    writer.wait()
    (path,) = list_checkpoints(tmp_path)
    read = read_checkpoint(path)
    assert torch.equal(read["state"]["w"], state(1.0)["state"]["w"])
    assert read["state"]["groups"][0]["lr"] == 1.0 and read["step"] == 1


def test_the_bytes_are_those_of_a_direct_write(tmp_path):
    writer = CheckpointWriter(tmp_path / "thread", 2)
    writer.save(1, state(2.0))
    writer.wait()
    direct = save_checkpoint(tmp_path / "direct", 1, state(2.0), 2)
    (path,) = list_checkpoints(tmp_path / "thread")
    assert path.read_bytes() == direct.read_bytes()


def test_the_next_checkpoint_waits_for_the_one_before(tmp_path, monkeypatch):
    under_way, most = 0, 0
    lock = threading.Lock()

    def counted(*args):
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        written = save_checkpoint(*args)
        with lock:
            under_way -= 1
        return written

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", counted)
    writer = CheckpointWriter(tmp_path, 2)
    for step in range(1, 6):
        writer.save(step, state(float(step)))
    writer.wait()
    assert most == 1
    kept = [read_checkpoint(path)["state"]["w"].mean() for path in list_checkpoints(tmp_path)]
    assert kept == [5.0, 4.0]


@pytest.mark.parametrize("ask", ["check", "wait", "save"])
def test_a_failed_write_is_told_at_the_next_occasion_and_once(tmp_path, monkeypatch, ask):
    def full(*_):
        raise InputError("cannot write: No space left on device")

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", full)
    writer = CheckpointWriter(tmp_path, 2)
    writer.save(1, state(1.0))
    writer.close()
    calls = {"check": writer.check, "wait": writer.wait, "save": lambda: writer.save(2, state(2.0))}
    with pytest.raises(InputError, match="No space left"):
        calls[ask]()
    writer.wait()


def test_closing_lets_the_write_end(tmp_path, gate):
    writer = CheckpointWriter(tmp_path, 2)
    writer.save(1, state(1.0))
    threading.Timer(0.05, gate.set).start()
    writer.close()
    assert len(list_checkpoints(tmp_path)) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    writer = CheckpointWriter(tmp_path / "file" / "checkpoints", 2)
    writer.save(1, state(1.0))
    with pytest.raises(InputError, match="cannot write"):
        writer.wait()


def test_the_copy_keeps_its_memory_until_a_shape_changes():
    host = HostCopy()
    first = host.take({"a": torch.ones(4), "b": (1, [torch.zeros(2)])})
    second = host.take({"a": torch.full((4,), 2.0), "b": (1, [torch.zeros(3)])})
    assert first["a"].data_ptr() == second["a"].data_ptr() and first["a"].tolist() == [2.0] * 4
    assert second["b"][1][0].shape == (3,) and isinstance(second["b"], tuple)


def test_the_copy_keeps_numbers_strings_and_strides():
    given = state(3.0) | {"name": "run", "none": None}
    copied = HostCopy().take(given)
    assert copied["name"] == "run" and copied["none"] is None and copied["step"] == 3
    assert copied["state"]["w"].stride() == given["state"]["w"].stride()
    assert copied["state"]["w"].data_ptr() != given["state"]["w"].data_ptr()


def test_two_names_of_one_tensor_are_both_kept():
    tied = torch.ones(2)
    copied = HostCopy().take({"a": tied, "b": tied})
    assert torch.equal(copied["a"], copied["b"])
