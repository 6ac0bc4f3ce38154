"""Synthetic JPEG files of a size, their table, and the prepared folder made of them."""

import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.manifest import Prepared
from mflag.data.preparing import prepare

QUALITY = 90
DISTINCT = 8  # pictures; the files beyond are copies under other names, with pages of their own


class Files(NamedTuple):
    """A folder of JPEG files.

    Attributes:
        paths: one a study.
        side: height and width, pixels.
        prepared: the same in 256² uint8.
        prepare_images_per_second: decoded and resized by prepare.
    """

    paths: list[Path]
    side: int
    prepared: Prepared
    prepare_images_per_second: float

    @property
    def mean_bytes(self) -> float:
        """Of a file."""
        return float(np.mean([path.stat().st_size for path in self.paths]))


def make_files(folder: Path, side: int, count: int, seed: int = 0) -> Files:
    """Write ``count`` grey JPEGs of ``side``² and prepare them.

    A picture is smooth shapes and noise: about the bytes a pixel of a chest X-ray at that quality.
    """
    originals = folder / f"jpeg-{side}"
    originals.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    paths = [originals / f"{number:05}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        if number < DISTINCT:
            Image.fromarray(picture(side, generator)).save(path, quality=QUALITY)
        else:
            path.write_bytes(paths[number % DISTINCT].read_bytes())
    table = folder / f"jpeg-{side}.csv"
    pd.DataFrame(
        {
            "image": [path.name for path in paths],
            "text": "No acute cardiopulmonary abnormality.",
            "patient": [f"p{number}" for number in range(count)],
            "split": "train",
        }
    ).to_csv(table, index=False)
    dataset = DatasetConfig(
        name="csv", image_column="image", text_column="text", patient_column="patient",
        split_column="split",
    )  # fmt: skip
    config = PrepareConfig(dataset, root=str(originals), csv=str(table))
    config.out = str(folder / f"prepared-{side}")
    begin = time.perf_counter()
    prepared = prepare(config)
    return Files(paths, side, prepared, count / (time.perf_counter() - begin))


def picture(side: int, generator: np.random.Generator) -> np.ndarray:
    """Return smooth shapes with a little noise, (side, side) uint8."""
    coarse = generator.uniform(40, 220, (12, 12)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
    noise = generator.standard_normal((side, side), np.float32) * 4
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def forget(paths: list[Path]) -> None:
    """Let the system drop what it keeps of files; what was written is on disk first."""
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
