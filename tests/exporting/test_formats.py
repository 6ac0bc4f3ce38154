import subprocess
import sys

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file

from mflag.errors import InputError
from mflag.exporting import FORMATS, SUFFIXES
from mflag.models import build_encoder, load_encoder
from mflag.models.encoder_file import save_encoder


@pytest.fixture(scope="module", params=["resnet18", "resnet50"])
def encoder(request, tmp_path_factory):
    """An encoder file whose batch norms are not as initialised."""
    torch.manual_seed(0)
    module = build_encoder(request.param)
    module(torch.randn(4, 3, 32, 32))
    path = tmp_path_factory.mktemp(request.param) / "encoder.safetensors"
    save_encoder(path, module, request.param, 32)
    return path


def read(path):
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)


def features(module):
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return module.eval()(images)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvision_loads_strictly_with_equal_features(encoder, suffix, tmp_path):
    out = tmp_path / f"x{suffix}"
    FORMATS["torchvision"](encoder, out)
    module = getattr(torchvision.models, load_encoder(encoder).metadata["arch"])()
    module.fc = torch.nn.Identity()
    module.load_state_dict(read(out), strict=True)
    torch.testing.assert_close(features(module), features(load_encoder(encoder)), rtol=0, atol=0)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_timm_loads_strictly_with_equal_features(encoder, suffix, tmp_path):
    out = tmp_path / f"x{suffix}"
    FORMATS["timm"](encoder, out)
    module = timm.create_model(load_encoder(encoder).metadata["arch"], num_classes=0)
    module.load_state_dict(read(out), strict=True)
    torch.testing.assert_close(features(module), features(load_encoder(encoder)), rtol=0, atol=1e-5)


def test_safetensors_copy_has_the_same_bytes(encoder, tmp_path):
    out = tmp_path / "copy.safetensors"
    FORMATS["safetensors"](encoder, out)
    assert out.read_bytes() == encoder.read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_else_is_left_in_the_folder(encoder, name, tmp_path):
    FORMATS[name](encoder, tmp_path / f"x{SUFFIXES[name]}")
    assert [path.name for path in tmp_path.iterdir()] == [f"x{SUFFIXES[name]}"]


@pytest.mark.parametrize("name", FORMATS)
def test_unknown_suffix_is_refused_and_leaves_nothing(encoder, name, tmp_path):
    with pytest.raises(InputError, match="let it end in"):
        FORMATS[name](encoder, tmp_path / "new" / "x.bin")
    assert not list(tmp_path.iterdir())


def test_encoder_with_a_missing_tensor_is_refused_and_leaves_nothing(tmp_path):
    module = build_encoder("resnet18")
    del module.layer4
    save_encoder(tmp_path / "encoder.safetensors", module, "resnet18", 32)
    with pytest.raises(InputError, match="does not fit the model"):
        FORMATS["torchvision"](tmp_path / "encoder.safetensors", tmp_path / "x.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.safetensors"]


def test_printed_lines_of_python_load_the_file(encoder, tmp_path):
    written = FORMATS["torchvision"](encoder, tmp_path / "x.pth")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(written.usage)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_export_does_not_import_timm(encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    FORMATS["timm"](encoder, tmp_path / "x.safetensors")
    assert (tmp_path / "x.safetensors").is_file()
