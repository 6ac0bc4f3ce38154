import pytest
import torch

from mflag.models import build_encoder
from mflag.models.encoder_file import save_encoder

DEEPER = ("resnet34", "resnet50")
ARCHS = ["resnet18", *(pytest.param(arch, marks=pytest.mark.slow) for arch in DEEPER)]


@pytest.fixture(scope="session")
def encoder_of(tmp_path_factory):
    """Encoder files by arch, made when asked for, their batch norms not as initialised."""

    class Files(dict):
        def __missing__(self, arch):
            torch.manual_seed(0)
            module = build_encoder(arch)
            module(torch.randn(4, 3, 32, 32))
            self[arch] = tmp_path_factory.mktemp(arch) / "encoder.safetensors"
            save_encoder(self[arch], module, arch, 32, "phantom")
            return self[arch]

    return Files()


@pytest.fixture
def encoder(encoder_of):
    return encoder_of["resnet18"]
