"""A folder with something of every program, made once."""

import shutil

import numpy as np
import pytest

from mflag import analyze
from mflag.config.analyze import AnalyzeConfig
from tests.evaluate_program import SPLITS, call_program, write_encoder, write_prepared
from tests.summary.written_runs import (
    ATTACK,
    copy_evaluation,
    unknown_task,
    write,
    write_ablation,
    write_data,
    write_log,
)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """One real evaluation and one real analysis of 80 generated studies, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    encoder = write_encoder(folder)
    unknown = np.where(np.arange(len(SPLITS)) % 3 == 0, 1, 0).astype(np.float32)
    attribute = np.random.default_rng(1).normal(size=len(SPLITS)).astype(np.float32)
    columns = {f"label/{ATTACK}": unknown, "attribute/rotation": attribute}
    prepared = write_prepared(folder / "prepared", "phantom", **columns)
    named = f"encoders={{mflag:{encoder}}}"
    shared = [f"data.path={prepared}", named, "imagenet=false"]
    code = call_program(
        [*shared, f"out={folder / 'evaluation'}", "fraction=[0.5,1.0]", "seeds=2",
         "task.resamples=50"]
    )  # fmt: skip
    assert code == 0
    words = [*shared, f"out={folder / 'analysis'}", "runs={}", "points=20"]
    assert call_program(words, ("analyze", analyze.main, AnalyzeConfig)) == 0
    return folder


@pytest.fixture(scope="session")
def lab(made, tmp_path_factory):
    """Folders of every kind."""
    root = tmp_path_factory.mktemp("lab") / "runs"
    write_data(root / "data")
    write_data(root / "other" / "data")  # the same set again
    write_data(root / "hostile", ATTACK)
    write_log(root / "mflag")
    write_log(root / "other" / f"x{ATTACK.replace('/', '')}", orthogonality_share=0.1)
    for name, dataset in (("one", "phantom"), ("two", "phantom"), ("nih/three", "nih")):
        copy_evaluation(made, root / "evaluations" / name, dataset)
    for name in ("first", "second"):
        shutil.copytree(made / "analysis", root / "analyses" / name)
    write_ablation(root / "table4", "nih")
    write_log(root / "table4" / "both" / "seed_0")
    copy_evaluation(made, root / "table4" / "both" / "seed_0" / "evaluation", pictures=False)
    write(root / "bench" / "kernels.json", {"rows": []})
    write(root / "evaluations" / "odd" / "results.json", unknown_task(made))
    return root
