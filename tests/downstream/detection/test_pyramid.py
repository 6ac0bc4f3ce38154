import numpy as np
import pytest
import torch

from mflag.downstream.detection.pyramid import FeaturePyramids
from mflag.downstream.encoders import NamedEncoder
from mflag.downstream.training import Compute
from mflag.models import build_encoder

CPU = Compute(torch.device("cpu"), torch.float32, 3)
ROWS = np.arange(7)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    module = build_encoder("resnet18").eval()
    return NamedEncoder("mine", module, "resnet18", 64, [0.5] * 3, [0.25] * 3, "file x")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (9, 256, 256)).astype(np.uint8)


def test_maps_have_strides_of_8_16_and_32(images, encoder):
    maps = FeaturePyramids(images, encoder, 64, CPU).of(ROWS)
    assert [tuple(m.shape) for m in maps] == [(7, 128, 8, 8), (7, 256, 4, 4), (7, 512, 2, 2)]


def test_the_last_map_pooled_is_the_encoders_own_output(images, encoder):
    last = FeaturePyramids(images, encoder, 64, CPU).of(ROWS)[-1]
    pixels = torch.nn.functional.avg_pool2d(torch.from_numpy(images[ROWS]).float(), 4) / 255
    inputs = ((pixels - 0.5) / 0.25)[:, None].expand(-1, 3, -1, -1)
    with torch.no_grad():
        torch.testing.assert_close(last.mean((2, 3)), encoder.module(inputs))


@pytest.mark.parametrize("memory", [None, 0, 400_000], ids=["all", "none", "some"])
def test_remembered_maps_are_those_computed_anew(images, encoder, memory, monkeypatch):
    fresh = FeaturePyramids(images, encoder, 64, CPU)
    monkeypatch.setattr("mflag.downstream.detection.pyramid.available_memory", lambda _: memory)
    kept = FeaturePyramids(images, encoder, 64, CPU)
    kept.remember([ROWS[3:], ROWS])
    for rows in (ROWS, ROWS[[5, 1]]):
        for old, new in zip(fresh.of(rows), kept.of(rows), strict=True):
            torch.testing.assert_close(old, new)


def test_batches_go_through_the_rows_in_order(images, encoder):
    pyramids = FeaturePyramids(images, encoder, 64, CPU)
    whole = pyramids.of(ROWS)[0]
    parts = [maps[0] for maps in pyramids.batches(ROWS)]
    assert [len(part) for part in parts] == [3, 3, 1]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_the_encoder_gets_no_gradient_and_no_training_mode(images, encoder):
    encoder.module.requires_grad_(True).train()
    maps = FeaturePyramids(images, encoder, 64, CPU).of(ROWS)
    assert not any(parameter.requires_grad for parameter in encoder.module.parameters())
    assert not any(module.training for module in encoder.module.modules())
    assert not any(m.requires_grad or m.is_inference() for m in maps)
