from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mflag.data.lesions import lesion_table, mask_lesion
from mflag.data.manifest import Prepared
from mflag.downstream.encoders import NamedEncoder
from mflag.downstream.training import Compute
from mflag.models import build_encoder

Y, X = np.mgrid[:256, :256]
DISC = (X - 110) ** 2 + (Y - 120) ** 2 < 50**2
CPU = Compute(torch.device("cpu"), torch.float32, 16)


@pytest.fixture(scope="session")
def encoder() -> NamedEncoder:
    """A ResNet-18 for 32 px whose BatchNorm statistics are its own."""
    torch.manual_seed(0)
    module = build_encoder("resnet18").train()
    with torch.no_grad():
        module(torch.randn(8, 3, 32, 32))
    module.requires_grad_(False).eval()
    return NamedEncoder("mine", module, "resnet18", 32, [0.5] * 3, [0.5] * 3, "file x")


@pytest.fixture
def make_lesions(make_prepared: Callable[..., Prepared]) -> Callable[..., Prepared]:
    """Give prepared data with a mask of the disc where ``label/disc`` is 1.

    ``lesions`` replaces the table; other keywords are of ``make_prepared``.
    """

    def make(lesions: pd.DataFrame | None = None, **options: Any) -> Prepared:
        prepared = make_prepared(**options)
        if lesions is None:
            marked = prepared.manifest["id"][prepared.manifest["label/disc"] == 1]
            lesions = lesion_table([mask_lesion(image, "disc", DISC) for image in marked])
        lesions.to_parquet(prepared.path / "lesions.parquet")
        return prepared

    return make
