import os
from pathlib import Path

import pandas as pd
import pytest

from bench.hannover import compose_table, view_alone
from bench.sweep_results import compact, sweep_table
from mflag.ablation.statistics import differences, summarise

HANNOVER = (
    Path(os.environ.get("MFLAG_REAL_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "hannover"
)


@pytest.fixture
def results():
    """An ablation of two variants with two seeds."""
    of_test = {"task": "classification", "protocol": "linear", "fraction": 0.01}
    rows = [
        {"variant": variant, "seed": seed, "metric": "macro_auc", "value": value, "n": 3}
        | of_test
        | {"n_train": 40, "patients_half_width": 0.02}
        for variant, scores in (("both", (0.7, 0.72)), ("align_only", (0.65, 0.68)))
        for seed, value in enumerate(scores)
    ]
    variants = [{"name": name} for name in ("both", "align_only")]
    return {
        "reference": "both", "variants": variants, "interval": "Student's t.", "rows": rows,
        "data": {"generated": {"size": 5000, "seed": 1}}, "missing": [], "failures": [],
        "summary": summarise(rows), "differences": differences(rows, "both"),
        "command": "python -m mflag.ablate", "versions": {}, "machine": "a chip",
    }  # fmt: skip


def test_single_rows_are_left_out_and_the_commit_is_kept(results):
    content = compact(results, "abc123")
    assert "rows" not in content and content["commit"] == "abc123"
    assert content["summary"][0]["value"] == 0.71


def test_the_table_names_data_seed_commit_and_every_variant(results):
    table = sweep_table(compact(results, "abc123"))
    assert "dataset.seed=1" in table and "abc123" in table
    assert "| both | 2 | 0.710 (0.583–0.837) | – |" in table
    assert "| align_only | 2 | 0.665" in table and "−0.045 (−0.109 to +0.019)" in table


def test_a_view_that_tells_everything_has_an_auc_of_one():
    table = pd.DataFrame({"patient": list("abcd"), "ap": [0, 0, 1, 1]})
    table["intensive_care"] = table["ap"]
    assert view_alone(table, 20)["value"] == 1


@pytest.mark.skipif(not HANNOVER.is_dir(), reason=f"{HANNOVER} is absent (MFLAG_REAL_DATA)")
def test_hannover_holds_243_images_of_71_patients():
    table = compose_table(HANNOVER / "data.csv")
    assert (len(table), table["patient"].nunique()) == (243, 71)
    assert table[["ap", "intensive_care"]].sum().tolist() == [194, 186]
