"""``format=ultralytics``: weights and YAML, with and without ultralytics installed."""

import importlib.util
import os

import pytest
import torch
from safetensors.torch import load_file

from mflag.exporting import FORMATS, to_ultralytics, ultralytics_names
from mflag.models import load_encoder
from mflag.models.encoder_file import EMBEDDING_DIM
from tests.exporting.conftest import ARCHS

export = FORMATS["ultralytics"].export
needs_ultralytics = pytest.mark.skipif(
    importlib.util.find_spec("ultralytics") is None,
    reason='ultralytics is not installed (AGPL-3.0; pip install "mflag[detection]")',
)


@pytest.fixture
def without_ultralytics(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *_: None if name == "ultralytics" else find(name)
    )


def images_of_0_to_1(size=64):
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def assert_features_of_raw_images(layers, encoder):
    """Layers on 0..1 images against the encoder on (x - 0.5) / 0.5."""
    with torch.inference_mode():
        expected = load_encoder(encoder)((images_of_0_to_1() - 0.5) / 0.5)
        found = layers.eval()(images_of_0_to_1())[-1].mean((2, 3))
    assert (found - expected).abs().max() <= 1e-5 * max(1, expected.abs().max())


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("arch", ARCHS)
def test_layers_of_the_same_names_give_equal_features(
    encoder_of, arch, suffix, tmp_path, without_ultralytics
):
    out = tmp_path / f"x{suffix}"
    written = export(encoder_of[arch], out)
    assert "ultralytics is not installed" in written.checked
    state = load_file(out) if suffix == ".safetensors" else torch.load(out, weights_only=True)
    layers = to_ultralytics._layers_of_the_same_names(arch)
    layers.load_state_dict(state, strict=True)
    assert_features_of_raw_images(layers, encoder_of[arch])


def test_batch_norms_that_barely_vary_keep_their_function(tmp_path):
    variance = torch.tensor([0.0, 1e-8, 1e-3, 10.0])
    tensors = {"bn1.weight": torch.ones(4), "bn1.running_var": variance}
    metadata = {"mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]"}
    state = ultralytics_names.to_ultralytics(tensors, metadata)
    torch.testing.assert_close(
        state["1.m.1.weight"] / (variance + 1e-3).sqrt(), (variance + 1e-5).rsqrt()
    )


@pytest.mark.parametrize("arch", ARCHS)
def test_yaml_names_the_channels_that_the_layers_have(arch):
    rows = ultralytics_names.model_yaml(arch)["backbone"]
    with torch.inference_mode():
        outputs = to_ultralytics._layers_of_the_same_names(arch).eval()(images_of_0_to_1())
    for stride, (_, _, _, (channels, index)) in zip((8, 16, 32), rows[2:], strict=True):
        assert outputs[index].shape[1:] == (channels, 64 // stride, 64 // stride)
    assert rows[1][3][0] == EMBEDDING_DIM[arch]


def test_the_yaml_says_whose_weights_it_takes(encoder, tmp_path, without_ultralytics):
    export(encoder, tmp_path / "mine.pt")
    text = (tmp_path / "mine.yaml").read_text()
    assert "mine.pt" in text and "AGPL-3.0" in text and str(tmp_path) not in text


@needs_ultralytics
@pytest.mark.parametrize("arch", ARCHS)
def test_ultralytics_loads_strictly_with_equal_features(encoder_of, arch, tmp_path):
    before = {name for name in os.environ if name.startswith("YOLO_")}
    written = export(encoder_of[arch], tmp_path / "x.pt")
    assert "ultralytics' own first two layers" in written.checked
    assert {name for name in os.environ if name.startswith("YOLO_")} == before
    from ultralytics.nn.tasks import DetectionModel

    model = DetectionModel(str(tmp_path / "x.yaml"), verbose=False)
    model.model[:2].load_state_dict(torch.load(tmp_path / "x.pt", weights_only=True), strict=True)
    assert model.stride.tolist() == [8, 16, 32]
    assert_features_of_raw_images(model.model[:2], encoder_of[arch])


@needs_ultralytics
def test_printed_lines_give_a_model_that_keeps_the_encoder(encoder, tmp_path):
    written = export(encoder, tmp_path / "x.pt")
    names: dict = {}
    exec("\n".join(written.usage), names)
    model = names["model"]
    assert model.ckpt  # train() takes the loaded weights, not new ones
    assert_features_of_raw_images(model.model.model[:2], encoder)
