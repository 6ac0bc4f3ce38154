"""The step on a GPU: no waiting between logging points, recorded steps, background checkpoints."""

import dataclasses
import json

import pytest
import torch

from mflag.config.compute import ComputeConfig
from mflag.config.feed import AugmentConfig
from mflag.config.train import TrainConfig
from mflag.data.augment import draw_parameters
from mflag.data.feeds import Batch
from mflag.runtime.checkpoint_writer import HostCopy
from mflag.runtime.device import choose_compute
from mflag.training.loop import TrainingLoop, train
from mflag.training.out_of_memory import OutOfMemoryError
from tests.training.conftest import write_prepared
from tests.training.test_compiled_step import build, take

pytestmark = pytest.mark.gpu


def compute(**changes):
    found = choose_compute(ComputeConfig(device="cuda", precision="bf16", compile="false"))
    return dataclasses.replace(found, **changes)


def on_gpu(**options):
    torch.backends.cudnn.deterministic = True
    return build(options.pop("compute"), arch="resnet18", **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("data") / "prepared", 128)


def config_for(data, folder, **compute_options):
    config = TrainConfig(output_dir=str(folder))
    config.data.path = str(data.path)
    config.model.arch = "resnet18"
    config.train.epochs, config.train.batch_size, config.train.image_size = 6, 16, 64
    config.log.every, config.log.tensorboard, config.checkpoint.every = 10, False, 10
    config.compute.device = "cuda"
    for name, value in compute_options.items():
        setattr(config.compute, name, value)
    return config


@pytest.mark.parametrize("feed", ["cache", "torch"])
@pytest.mark.parametrize("optim", ["adamw", "lars"])
@pytest.mark.parametrize("options", [{}, {"cuda_graph": True}], ids=["plain", "cuda-graph"])
def test_between_logging_points_the_host_never_waits(
    data, tmp_path, monkeypatch, feed, optim, options
):
    plain, watched = TrainingLoop._take_step, []

    def watch(self, batches, epoch):
        # The first steps compile, fill caches and record: those may wait.
        is_settled = self._done > 25 or (not options and self._done > 2)
        watched.append(is_settled)
        torch.cuda.set_sync_debug_mode("error" if is_settled else "default")
        try:
            return plain(self, batches, epoch)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(TrainingLoop, "_take_step", watch)
    config = config_for(data, tmp_path / "run", **options)
    config.feed.name, config.optim.name = feed, optim
    assert train(config)
    assert sum(watched) > 5


@pytest.mark.parametrize("optim", ["adamw", "lars"])
@pytest.mark.parametrize("compiles", [False, True])
def test_a_recorded_step_does_what_the_plain_one_does(optim, compiles):
    plain, _, _ = on_gpu(compute=compute(), optim=optim)
    step, _, _ = on_gpu(compute=compute(captures=True, compiles=compiles), optim=optim)
    for number in range(16):
        found, expected = take(step, number), take(plain, number)
        torch.testing.assert_close(found, expected, rtol=0.1, atol=0.1)
    assert step._replay is not None and len(step._replay._recorded) == 2
    assert bool(step.is_finite)


def test_a_recorded_run_learns_and_resumes_either_way(data, tmp_path):
    config = config_for(data, tmp_path / "run", cuda_graph=True)
    assert train(config)
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[-1]["loss_alignment"] < lines[0]["loss_alignment"]
    (tmp_path / "run" / "model_card.md").unlink()
    for checkpoint in sorted((tmp_path / "run" / "checkpoints").glob("*.ckpt"))[1:]:
        checkpoint.unlink()
    for cuda_graph in (False, True):
        again = config_for(data, tmp_path / "run", cuda_graph=cuda_graph)
        again.resume = "auto"
        assert train(again)
        (tmp_path / "run" / "model_card.md").unlink()


def test_a_copy_to_the_host_is_of_the_moment_and_pinned():
    weights = torch.arange(1 << 20, dtype=torch.float32, device="cuda")
    expected = weights.cpu()
    copied = HostCopy().take({"w": weights})
    weights.zero_()
    assert copied["w"].is_pinned() and torch.equal(copied["w"], expected)


def test_a_batch_too_large_names_a_micro_batch_that_fits():
    step, _, _ = on_gpu(compute=compute())
    size = 512
    rows = torch.zeros(size, dtype=torch.int64)
    images = torch.zeros(size, 1, 256, 256, dtype=torch.uint8)
    step._config.train.image_size = 224
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(4e9 / total)
    try:
        with pytest.raises(OutOfMemoryError, match=r"train\.micro_batch_size=\d+, which fits"):
            drawn = draw_parameters(AugmentConfig(), 0, 0, rows.numpy())
            step.run(Batch(images, rows), drawn, rows, 0)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
