import pytest
import torch

from mflag.errors import InputError
from mflag.runtime.checkpoint import (
    list_checkpoints,
    newest_checkpoint,
    read_checkpoint,
    save_checkpoint,
)


def flip_last_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_what_is_saved_is_read(tmp_path):
    state = {"step": 3, "weights": {"w": torch.arange(4.0)}, "names": ["a", None]}
    read = read_checkpoint(save_checkpoint(tmp_path, 3, state, keep=2))
    assert torch.equal(read.pop("weights")["w"], torch.arange(4.0))
    assert read == {"step": 3, "names": ["a", None]}


def test_only_the_newest_stay(tmp_path):
    for step in (1, 2, 10, 11):
        save_checkpoint(tmp_path, step, {"step": step}, keep=2)
    assert [p.name for p in list_checkpoints(tmp_path)] == [
        "step_000000011.ckpt",
        "step_000000010.ckpt",
    ]


def test_a_flipped_byte_is_found(tmp_path):
    path = save_checkpoint(tmp_path, 1, {"step": 1}, keep=1)
    flip_last_byte(path)
    with pytest.raises(InputError, match="checksum differs"):
        read_checkpoint(path)


def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path, capsys):
    save_checkpoint(tmp_path, 1, {"step": 1}, keep=2)
    flip_last_byte(save_checkpoint(tmp_path, 2, {"step": 2}, keep=2))
    found = newest_checkpoint(tmp_path)
    assert found is not None and found[1]["step"] == 1
    assert "step_000000002.ckpt is damaged" in capsys.readouterr().err


def test_no_whole_checkpoint_is_an_error(tmp_path):
    flip_last_byte(save_checkpoint(tmp_path, 2, {"step": 2}, keep=2))
    with pytest.raises(InputError, match="overwrite=true"):
        newest_checkpoint(tmp_path)


def test_no_checkpoint_is_none(tmp_path):
    assert newest_checkpoint(tmp_path / "missing") is None


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "step_000000001.ckpt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="is no checkpoint"):
        read_checkpoint(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_checkpoint(tmp_path / "step_000000001.ckpt")
