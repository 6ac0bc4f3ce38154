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


@pytest.fixture(scope="module")
def encoder_of(tmp_path_factory):
    """Encoder files by arch, their batch norms not as initialised."""
    torch.manual_seed(0)
    files = {}
    for arch in ("resnet18", "resnet50"):
        module = build_encoder(arch)
        module(torch.randn(4, 3, 32, 32))
        files[arch] = tmp_path_factory.mktemp(arch) / "encoder.safetensors"
        save_encoder(files[arch], module, arch, 32)
    return files


@pytest.fixture
def encoder(encoder_of):
    return encoder_of["resnet18"]


def read(path):
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)


def features(module):
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return module.eval()(images)


@pytest.mark.parametrize(("arch", "suffix"), [("resnet18", ".pth"), ("resnet18", ".safetensors")])
def test_torchvision_loads_strictly_with_equal_features(encoder_of, arch, suffix, tmp_path):
    encoder, out = encoder_of[arch], tmp_path / f"x{suffix}"
    FORMATS["torchvision"](encoder, out)
    module = getattr(torchvision.models, arch)()
    module.fc = torch.nn.Identity()
    module.load_state_dict(read(out), strict=True)
    torch.testing.assert_close(features(module), features(load_encoder(encoder)), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arch", "suffix"), [("resnet18", ".pth"), ("resnet18", ".safetensors"), ("resnet50", ".pth")]
)
def test_timm_loads_strictly_with_equal_features(encoder_of, arch, suffix, tmp_path):
    encoder, out = encoder_of[arch], tmp_path / f"x{suffix}"
    FORMATS["timm"](encoder, out)
    module = timm.create_model(arch, num_classes=0)
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
    names: dict = {}
    exec("\n".join(written.usage), names)
    torch.testing.assert_close(
        features(names["model"]), features(load_encoder(encoder)), rtol=0, atol=0
    )


def test_export_does_not_import_timm(encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    FORMATS["timm"](encoder, tmp_path / "x.safetensors")
    assert (tmp_path / "x.safetensors").is_file()
