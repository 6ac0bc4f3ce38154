import subprocess
import sys

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from safetensors.torch import load_file

from mflag.errors import InputError
from mflag.exporting import FORMATS
from mflag.models import build_encoder, load_encoder
from mflag.models.encoder_file import read_encoder_file, save_encoder
from mflag.runtime.tensor_file import write_tensors
from tests.exporting.conftest import ARCHS

OPTIONAL = (
    "segmentation_models_pytorch",
    "timm",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "ultralytics",
)


def read(path):
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)


def features(module):
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return module.eval()(images)


def assert_equal_features(module, encoder):
    expected = features(load_encoder(encoder))
    assert (features(module) - expected).abs().max() <= 1e-5 * max(1, expected.abs().max())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("arch", ARCHS)
def test_torchvision_loads_strictly_with_equal_features(encoder_of, arch, suffix, tmp_path):
    encoder, out = encoder_of[arch], tmp_path / f"x{suffix}"
    FORMATS["torchvision"].export(encoder, out)
    module = getattr(torchvision.models, arch)()
    module.fc = torch.nn.Identity()
    module.load_state_dict(read(out), strict=True)
    assert_equal_features(module, encoder)


@pytest.mark.parametrize("arch", ARCHS)
def test_timm_loads_strictly_with_equal_features(encoder_of, arch, tmp_path):
    encoder, out = encoder_of[arch], tmp_path / "x.safetensors"
    FORMATS["timm"].export(encoder, out)
    module = timm.create_model(arch, num_classes=0)
    module.load_state_dict(read(out), strict=True)
    assert_equal_features(module, encoder)


@pytest.mark.parametrize("arch", ARCHS)
def test_smp_loads_strictly_with_equal_deepest_features(encoder_of, arch, tmp_path):
    encoder, out = encoder_of[arch], tmp_path / "x.pth"
    FORMATS["smp"].export(encoder, out)
    unet = smp.Unet(arch, encoder_weights=None)
    unet.encoder.load_state_dict(read(out), strict=True)
    unet.eval()
    assert_equal_features(_Pooled(unet.encoder), encoder)
    assert read(out).keys() == unet.encoder.state_dict().keys()


class _Pooled(torch.nn.Module):
    def __init__(self, pyramid):
        super().__init__()
        self.pyramid = pyramid

    def forward(self, images):
        return self.pyramid(images)[-1].mean((2, 3))


def test_safetensors_copy_has_the_same_bytes(encoder, tmp_path):
    out = tmp_path / "copy.safetensors"
    FORMATS["safetensors"].export(encoder, out)
    assert out.read_bytes() == encoder.read_bytes()


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "onnx"])
def test_nothing_else_is_left_in_the_folder(encoder, name, tmp_path):
    chosen = FORMATS[name]
    chosen.export(encoder, tmp_path / f"x{chosen.suffixes[0]}")
    expected = {f"x{suffix}" for suffix in (chosen.suffixes[0], *chosen.companions)}
    assert {path.name for path in tmp_path.iterdir()} == expected


@pytest.mark.parametrize("name", FORMATS)
def test_unknown_suffix_is_refused_and_leaves_nothing(encoder, name, tmp_path):
    with pytest.raises(InputError, match="let it end in"):
        FORMATS[name].export(encoder, tmp_path / "new" / "x.bin")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", FORMATS)
def test_file_below_a_file_is_refused(encoder, name, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot write"):
        FORMATS[name].export(encoder, tmp_path / "file" / f"x{FORMATS[name].suffixes[0]}")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def without_a_tensor(path):
    module = build_encoder("resnet18")
    del module.layer4
    save_encoder(path, module, "resnet18", 32)


def of_another_arch(path):
    save_encoder(path, build_encoder("resnet18"), "resnet18", 32)
    metadata, tensors = read_encoder_file(path)
    write_tensors(path, tensors, metadata | {"arch": "resnet34"})


@pytest.mark.parametrize("damage", [without_a_tensor, of_another_arch])
@pytest.mark.parametrize("name", FORMATS)
def test_encoder_that_is_not_what_it_says_is_refused_and_leaves_nothing(name, damage, tmp_path):
    source = tmp_path / "encoder.safetensors"
    damage(source)
    with pytest.raises(InputError, match="does not fit the model"):
        FORMATS[name].export(source, tmp_path / f"x{FORMATS[name].suffixes[0]}")
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.safetensors"]


def test_printed_lines_of_python_load_the_file(encoder, tmp_path):
    written = FORMATS["torchvision"].export(encoder, tmp_path / "x.pth")
    names: dict = {}
    exec("\n".join(written.usage), names)
    assert_equal_features(names["model"], encoder)


@pytest.mark.parametrize(
    ("name", "package"), [("timm", "timm"), ("smp", "segmentation_models_pytorch")]
)
def test_without_the_library_the_proof_is_torchvisions_and_says_so(
    encoder, tmp_path, monkeypatch, name, package
):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda module, *_: None)
    written = FORMATS[name].export(encoder, tmp_path / "x.safetensors")
    assert "not installed" in written.checked
    assert (tmp_path / "x.safetensors").is_file()


def test_a_file_that_does_not_load_in_the_library_never_appears(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(timm, "create_model", lambda arch, **_: torch.nn.Linear(1, 1))
    with pytest.raises(RuntimeError, match="Missing key"):
        FORMATS["timm"].export(encoder, tmp_path / "x.pth")
    assert not list(tmp_path.iterdir())


def test_importing_the_writers_imports_none_of_the_libraries():
    program = (
        f"import sys, mflag, mflag.exporting; print([x for x in {OPTIONAL} if x in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr
