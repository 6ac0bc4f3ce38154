"""What the loop does between two logging points, and what it says at them."""

import dataclasses
import json

import pytest
import torch

from mflag.config.train import TrainConfig
from mflag.errors import NonFiniteError
from mflag.runtime.checkpoint import list_checkpoints
from mflag.runtime.device import choose_compute
from mflag.training import run as run_module
from mflag.training.finite import check_finite_state
from mflag.training.loop import TrainingLoop, train
from mflag.training.pace import Pace
from tests.training.test_compiled_step import Reads


def config_for(prepared, folder):
    config = TrainConfig(output_dir=str(folder))
    config.data.path = str(prepared.path)
    config.model.arch, config.model.projector = "resnet18", "linear"
    config.train.epochs, config.train.batch_size, config.train.image_size = 2, 16, 32
    config.compute.device, config.compute.precision = "cpu", "fp32"
    config.log.every, config.log.tensorboard = 3, False
    return config


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_between_logging_points_no_tensor_is_read(prepared, tmp_path, monkeypatch):
    plain, reads = TrainingLoop._take_step, Reads()

    def watched(self, batches, epoch):
        with reads:
            return plain(self, batches, epoch)

    monkeypatch.setattr(TrainingLoop, "_take_step", watched)
    assert train(config_for(prepared, tmp_path / "run"))
    assert reads.count == 0


def test_the_time_of_compiling_stands_apart(prepared, tmp_path, monkeypatch):
    def compiling(*wanted):
        return dataclasses.replace(choose_compute(*wanted), compiles=True, compiler="eager")

    monkeypatch.setattr(run_module, "choose_compute", compiling)
    torch._dynamo.reset()
    assert train(config_for(prepared, tmp_path / "run"))
    first, *later = lines_of(tmp_path / "run")
    assert first["compile_seconds"] > 0 and first["images_per_second"] is None
    assert later and all(line["images_per_second"] > 0 for line in later)
    assert not any("compile_seconds" in line for line in later)


def test_without_compiling_there_is_nothing_apart(prepared, tmp_path):
    assert train(config_for(prepared, tmp_path / "run"))
    lines = lines_of(tmp_path / "run")
    assert all(line["images_per_second"] > 0 and "compile_seconds" not in line for line in lines)


@pytest.mark.parametrize("one_channel", ["false", "true"])
def test_either_stem_leaves_three_channels_and_as_many_parameters(prepared, tmp_path, one_channel):
    config = config_for(prepared, tmp_path / "run")
    config.model.one_channel = one_channel
    assert train(config)
    from safetensors.torch import load_file

    weights = load_file(tmp_path / "run" / "encoder.safetensors")["conv1.weight"]
    assert weights.shape == (64, 3, 7, 7)
    assert torch.equal(weights[:, 0], weights[:, 1]) == (one_channel == "true")
    assert "encoder 11,176,512" in (tmp_path / "run" / "model_card.md").read_text()


def test_a_checkpoint_that_cannot_be_written_ends_the_run(prepared, tmp_path, monkeypatch):
    from mflag.errors import InputError
    from mflag.runtime import checkpoint_writer

    def full(*_):
        raise InputError("cannot write: No space left on device")

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", full)
    config = config_for(prepared, tmp_path / "run")
    config.checkpoint.every = 2
    with pytest.raises(InputError, match="No space left"):
        train(config)
    assert list_checkpoints(tmp_path / "run" / "checkpoints") == []
    assert not (tmp_path / "run" / "model_card.md").exists()


def test_pace_leaves_out_what_compiled(monkeypatch):
    clock = iter([0.0, 10.0, 10.0, 12.0, 12.0])
    monkeypatch.setattr("mflag.training.pace.time.perf_counter", lambda: next(clock))
    pace = Pace(8)
    pace.compiled(9.0)
    pace.step()
    pace.wait(0.25)
    expected = {"images_per_second": 8.0, "data_wait": 0.25, "compile_seconds": 9.0}
    assert pace.figures() == expected
    pace.step()
    assert pace.figures() == {"images_per_second": 4.0, "data_wait": 0.0}


def test_the_first_tensor_that_is_not_finite_is_named():
    good, bad = torch.ones(2), torch.tensor([1.0, float("inf")])
    state = {"encoder": {"a": good, "b": bad, "n": torch.tensor(3)}, "loss": {"c": bad}, "x": 1}
    with pytest.raises(NonFiniteError, match=r"state\.encoder\.b became NaN or infinite .* step 7"):
        check_finite_state(state, 7)
    check_finite_state({"encoder": {"a": good, "empty": torch.ones(0)}}, 7)
