from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mflag.config.evaluate import EvaluateConfig
from mflag.data.manifest import FORMAT, Prepared, open_prepared
from mflag.downstream.classification.study import Study, plan_study
from mflag.runtime.atomic_write import file_sha256, write_json

SPLITS = ["train"] * 40 + ["valid"] * 20 + ["test"] * 20


def with_disc(images: np.ndarray, disc: np.ndarray) -> np.ndarray:
    """Brighten a disc in the images where ``disc`` is 1."""
    y, x = np.mgrid[:256, :256]
    images[np.ix_(disc == 1)] += (150 * ((x - 110) ** 2 + (y - 120) ** 2 < 50**2)).astype(np.uint8)
    return images


def write_folder(
    folder: Path, manifest: pd.DataFrame, dataset: str, images: np.ndarray | None = None
) -> Prepared:
    """Write a prepared folder and open it; without ``images`` they are holes."""
    folder.mkdir(parents=True)
    manifest.to_parquet(folder / "manifest.parquet")
    with open(folder / "images.u8", "wb") as file:
        if images is not None:
            file.write(images.tobytes())
        file.truncate(len(manifest) * 256 * 256)
    hashes = {name: file_sha256(folder / name) for name in ("manifest.parquet", "images.u8")}
    info = {"format": FORMAT, "dataset": dataset, "count": len(manifest), "image_size": 256}
    info["hashes"] = hashes
    write_json(folder / "prepared.json", info)
    return open_prepared(folder)


@pytest.fixture
def make_prepared(tmp_path: Path) -> Callable[..., Prepared]:
    """Give prepared data: noise with a bright disc where ``label/disc`` is 1."""

    def make(splits: list[str] = SPLITS, dataset: str = "csv", **columns: Any) -> Prepared:
        random = np.random.default_rng(0)
        count = len(splits)
        disc = random.permutation(np.arange(count) % 2)
        images = with_disc(random.integers(0, 100, (count, 256, 256)).astype(np.uint8), disc)
        table = {
            "id": [f"i{k}" for k in range(count)],
            "patient": [f"p{k // 2}" for k in range(count)],
            "split": splits,
            "text": "",
            "label/disc": disc.astype(np.float32),
        }
        folder = tmp_path / f"prepared{len(list(tmp_path.iterdir()))}"
        return write_folder(folder, pd.DataFrame(table | columns), dataset, images)

    return make


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Study]:
    """Give a study without images of a table with ``splits`` and more columns."""

    def make(
        splits: list[str], *, policy: str = "zeros", fractions: tuple[float, ...] = (1.0,),
        dataset: str = "csv", **columns: Any,
    ) -> Study:  # fmt: skip
        count = len(splits)
        ids = [f"{number}" for number in range(count)]
        table = {"id": ids, "patient": ids, "split": splits, "text": ""}
        manifest = pd.DataFrame(table | columns)
        config = EvaluateConfig()
        config.task.label_policy, config.task.resamples = policy, 50
        folder = tmp_path / f"study{len(list(tmp_path.iterdir()))}"
        prepared = write_folder(folder, manifest, dataset)
        return plan_study(config, list(fractions), prepared)

    return make
