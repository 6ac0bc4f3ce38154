import pytest
import torch

from mflag.models import build_encoder
from mflag.models.encoder_file import save_encoder

ARCHS = ("resnet18", "resnet34", "resnet50")


@pytest.fixture(scope="session")
def encoder_of(tmp_path_factory):
    """Encoder files by arch, their batch norms not as initialised."""
    files = {}
    for arch in ARCHS:
        torch.manual_seed(0)
        module = build_encoder(arch)
        module(torch.randn(4, 3, 32, 32))
        files[arch] = tmp_path_factory.mktemp(arch) / "encoder.safetensors"
        save_encoder(files[arch], module, arch, 32, "phantom")
    return files


@pytest.fixture
def encoder(encoder_of):
    return encoder_of["resnet18"]
