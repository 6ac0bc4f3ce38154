from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mflag.data.manifest import FORMAT, Prepared, open_prepared
from mflag.runtime.atomic_write import file_sha256, write_json

FINDINGS = ("effusion", "nodule", "normal heart", "pneumothorax")


def write_prepared(folder: Path, n: int) -> Prepared:
    """Noise with a bright square whose place the text names: something to learn in a few steps."""
    folder.mkdir(parents=True)
    random = np.random.Generator(np.random.Philox(key=[7, 7]))
    images = random.integers(0, 60, (n, 256, 256), dtype=np.uint8)
    kind = np.arange(n) % len(FINDINGS)
    for row, k in enumerate(kind):
        top, left = 40 + 100 * (k // 2), 40 + 100 * (k % 2)
        images[row, top : top + 70, left : left + 70] += 150
    sides = ("left", "right", "both sides")
    table = pd.DataFrame(
        {
            "id": [f"s{row:03d}" for row in range(n)],
            "patient": [f"p{row // 2:03d}" for row in range(n)],
            "split": [
                "test" if r >= n - 8 else "valid" if r >= n - 16 else "train" for r in range(n)
            ],
            "text": [f"{FINDINGS[k]} on the {sides[r % 3]}, no change" for r, k in enumerate(kind)],
            "label/effusion": (kind == 0).astype(np.float32),
        }
    )
    table.to_parquet(folder / "manifest.parquet")
    images.tofile(folder / "images.u8")
    names = ("manifest.parquet", "images.u8")
    info = {
        "format": FORMAT,
        "dataset": "csv",
        "count": n,
        "image_size": 256,
        "splits": {},
        "hashes": {name: file_sha256(folder / name) for name in names},
    }
    write_json(folder / "prepared.json", info)
    return open_prepared(folder)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Prepared:
    return write_prepared(tmp_path_factory.mktemp("data") / "prepared", 64)
