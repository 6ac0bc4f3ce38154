from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mflag.config.evaluate import EvaluateConfig
from mflag.data.manifest import Prepared
from mflag.downstream.study import Study, plan_study

SPLITS = ["train"] * 40 + ["valid"] * 20 + ["test"] * 20


def with_disc(images: np.ndarray, disc: np.ndarray) -> np.ndarray:
    """Brighten a disc in the images where ``disc`` is 1."""
    y, x = np.mgrid[:256, :256]
    images[np.ix_(disc == 1)] += (150 * ((x - 110) ** 2 + (y - 120) ** 2 < 50**2)).astype(np.uint8)
    return images


@pytest.fixture
def make_prepared() -> Callable[..., Prepared]:
    """Give prepared data in memory: noise with a bright disc where ``label/disc`` is 1."""

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
        return Prepared(Path("none"), pd.DataFrame(table | columns), images, {"dataset": dataset})

    return make


@pytest.fixture
def make_study(make_prepared: Callable[..., Prepared]) -> Callable[..., Study]:
    """Give a study without images of a table with ``splits`` and more columns."""

    def make(
        splits: list[str], *, policy: str = "zeros", fractions: tuple[float, ...] = (1.0,),
        dataset: str = "csv", **columns: Any,
    ) -> Study:  # fmt: skip
        count = len(splits)
        table = {"id": np.arange(count), "patient": np.arange(count), "split": splits, "text": ""}
        manifest = pd.DataFrame(table | columns)
        images = np.empty((count, 0, 0), np.uint8)
        config = EvaluateConfig()
        config.task.label_policy, config.task.resamples = policy, 50
        prepared = Prepared(Path("none"), manifest, images, {"dataset": dataset})
        return plan_study(config, list(fractions), prepared)

    return make
