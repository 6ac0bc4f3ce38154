from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mflag.config.prepare import DatasetConfig, PrepareConfig


@pytest.fixture
def csv_dataset(tmp_path: Path) -> Callable[..., PrepareConfig]:
    """Write ``count`` small images and a table; give the configuration that prepares them."""

    def make(count: int = 40, **columns: list) -> PrepareConfig:
        root = tmp_path / "images"
        root.mkdir()
        random = np.random.default_rng(0)
        for number in range(count):
            pixels = random.integers(0, 256, (20 + number % 7, 30), np.uint8)
            Image.fromarray(pixels).save(root / f"{number:03}.png")
        table = pd.DataFrame(
            {
                "image": [f"{number:03}.png" for number in range(count)],
                "text": [f"Report number {number}." for number in range(count)],
                "patient": [f"p{number // 2}" for number in range(count)],
            }
            | columns
        )
        table.to_csv(tmp_path / "studies.csv", index=False)
        return PrepareConfig(
            dataset=DatasetConfig(
                name="csv",
                image_column="image",
                text_column="text",
                patient_column="patient",
                split_column="split",
            ),
            root=str(root),
            csv=str(tmp_path / "studies.csv"),
            out=str(tmp_path / "made" / "out"),
            workers=2,
        )

    return make
