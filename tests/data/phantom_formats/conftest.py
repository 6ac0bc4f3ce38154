import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mflag import cli, evaluate, prepare, train
from mflag.config.evaluate import EvaluateConfig
from mflag.config.prepare import DatasetConfig, PhantomConfig, PrepareConfig
from mflag.config.train import TrainConfig
from mflag.data.phantom_formats import write_format
from tests.data.phantom_formats.trees import Trees

ROOT = Path(__file__).parents[3]
PROGRAMS: dict[str, tuple[Callable[[Any], None], type]] = {
    "prepare": (prepare.main, PrepareConfig),
    "train": (train.main, TrainConfig),
    "evaluate": (evaluate.main, EvaluateConfig),
}


@pytest.fixture
def real_data() -> Path:
    """The folder of real label tables, where it is."""
    folder = Path(os.environ.get("MFLAG_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent (MFLAG_REAL_DATA)")
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a small raw tree of a format."""

    def make(kind: str, size: int = 6, seed: int = 0, out: str = "raw", **keys: Any) -> Path:
        config = PrepareConfig(
            dataset=DatasetConfig(name="phantom", size=size, seed=seed),
            phantom=PhantomConfig(format=kind),
            out=str(tmp_path / out),
            workers=1,
            **keys,
        )
        return write_format(config)[0]

    return make


@pytest.fixture(scope="session")
def call() -> Callable[..., None]:
    """Run a program as the command line does, with the options of its YAML files."""

    def run(program: str, *arguments: str) -> None:
        main, schema = PROGRAMS[program]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [program, *arguments])
            cli.run(main, program, schema)

    return run


@pytest.fixture(scope="session")
def trees(tmp_path_factory: pytest.TempPathFactory, call: Callable[..., None]) -> Trees:
    """Trees of all formats that tests share."""
    return Trees(tmp_path_factory.mktemp("trees"), call)
