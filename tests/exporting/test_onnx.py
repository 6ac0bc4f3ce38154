"""``format=onnx``: what is in the file, and what onnxruntime makes of it."""

import importlib.util
import re

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from mflag.errors import InputError
from mflag.exporting import FORMATS
from mflag.models import load_encoder
from mflag.models.encoder_file import read_encoder_file

export = FORMATS["onnx"].export


@pytest.fixture(scope="module")
def written(encoder_of, tmp_path_factory):
    out = tmp_path_factory.mktemp("onnx") / "x.onnx"
    export(encoder_of["resnet18"], out)
    return out


def run(path, images):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["features"], {"image": images.numpy()})[0]


def assert_equal(found, expected):
    assert np.abs(found - expected).max() <= 1e-5 * max(1, np.abs(expected).max())


@pytest.mark.parametrize(("count", "height", "width"), [(1, 32, 32), (3, 64, 64), (5, 48, 80)])
def test_features_are_the_encoders_at_every_batch_and_size(written, encoder, count, height, width):
    images = torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = load_encoder(encoder)(images).numpy()
    assert_equal(run(written, images), expected)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["resnet34", "resnet50"])
def test_deeper_encoders_give_equal_features(encoder_of, arch, tmp_path):
    export(encoder_of[arch], tmp_path / "x.onnx")
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = load_encoder(encoder_of[arch])(images).numpy()
    assert_equal(run(tmp_path / "x.onnx", images), expected)


def test_input_and_output_have_the_names_and_shapes_of_the_docs(written):
    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    [image], [features] = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(float)", ["N", 3, "H", "W"])
    assert (features.name, features.shape) == ("features", ["N", 512])


def test_metadata_of_the_encoder_stand_in_the_file(written, encoder):
    found = {p.key: p.value for p in onnx.load(written).metadata_props}
    assert found == read_encoder_file(encoder)[0]
    assert found["mean"] == "[0.5, 0.5, 0.5]"


def test_no_path_or_trace_of_the_machine_is_in_the_file(written):
    model = onnx.load(written)
    del model.graph.initializer[:]  # random bytes of weights may look like anything
    text = model.SerializeToString().decode("latin-1")
    assert not re.findall(
        r"(?:/|\\)(?:home|root|usr|work|tmp|opt|var|mnt|data)\b|\.py\b|File", text
    )
    assert "stack_trace" not in text and "site-packages" not in text


def test_equal_encoders_give_equal_bytes_and_nothing_else(written, encoder, tmp_path):
    export(encoder, tmp_path / "again.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["again.onnx"]
    assert (tmp_path / "again.onnx").read_bytes() == written.read_bytes()


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_extra_is_one_error_that_names_it(encoder, tmp_path, monkeypatch, missing):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *_: None if name == missing else find(name)
    )
    with pytest.raises(InputError, match=rf'needs {missing}, .*pip install "mflag\[onnx\]"'):
        export(encoder, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
