"""Parts of the tests of ``python -m mflag.evaluate``: data, an encoder, the call."""

import hashlib
import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from mflag import cli
from mflag.config.evaluate import EvaluateConfig
from mflag.data.manifest import FORMAT
from mflag.evaluate import main
from mflag.models import build_encoder
from mflag.models.encoder_file import save_encoder

SPLITS = ["train"] * 40 + ["valid"] * 20 + ["test"] * 20


def write_prepared(folder, dataset="csv", splits=SPLITS, **columns):
    """Noise images with a bright disc where ``label/disc`` is 1, in the format of prepare."""
    random = np.random.default_rng(0)
    count = len(splits)
    disc = random.permutation(np.arange(count) % 2)
    images = random.integers(0, 100, (count, 256, 256)).astype(np.uint8)
    y, x = np.mgrid[:256, :256]
    images[np.ix_(disc == 1)] += (120 * ((x - 90) ** 2 + (y - 90) ** 2 < 40**2)).astype(np.uint8)
    table = pd.DataFrame(
        {
            "id": [f"study{k}" for k in range(count)],
            "patient": [f"p{k // 2}" for k in range(count)],
            "split": splits,
            "text": [f"Secret report {k} <script>alert(1)</script>" for k in range(count)],
            "label/disc": disc.astype(np.float32),
        }
        | columns
    )
    folder.mkdir(parents=True)
    table.to_parquet(folder / "manifest.parquet")
    images.tofile(folder / "images.u8")
    names = ("manifest.parquet", "images.u8")
    hashes = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names}
    info = {
        "format": FORMAT,
        "dataset": dataset,
        "count": count,
        "image_size": 256,
        "hashes": hashes,
    }
    (folder / "prepared.json").write_text(json.dumps(info))
    return folder


def call_program(arguments, program=("evaluate", main, EvaluateConfig)):
    """Run a program in this process; give its exit code."""
    name, function, schema = program
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"mflag.{name}", *map(str, arguments)])
        try:
            cli.run(function, name, schema)
        except SystemExit as exit_:
            return exit_.code
    return 0


def write_encoder(folder):
    """A ResNet-18 of a fixed seed."""
    torch.manual_seed(1)
    path = folder / "encoder.safetensors"
    save_encoder(path, build_encoder("resnet18"), "resnet18", 32)
    return path
