"""``python -m mflag.evaluate task=segmentation`` as people call it."""

import json

import numpy as np
import pandas as pd
import pytest

from mflag.data.lesions import box_lesion, lesion_table
from tests.evaluate_program import SPLITS, call_program, write_encoder, write_prepared

BOX = [50, 50, 80, 80]  # around the disc of write_prepared
QUICK = ("task=segmentation", "task.epochs=1", "imagenet=false")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder"))


def write_lesions(folder, finding="disc", keep=None, **options):
    """Prepared data whose discs are boxed, as far as ``keep(id)``."""
    views = ["AP" if k % 2 else "PA" for k in range(len(SPLITS))]
    write_prepared(folder, view=views, **options)
    table = pd.read_parquet(folder / "manifest.parquet")
    ids = table["id"][table["label/disc"] == 1]
    rows = [box_lesion(i, finding, BOX, (256, 256)) for i in ids if keep is None or keep(i)]
    lesion_table(rows).to_parquet(folder / "lesions.parquet")
    return folder


@pytest.fixture(scope="module")
def evaluation(encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmentation")
    data = write_lesions(folder / "data", dataset="phantom", finding="Lung Opacity")
    code = call_program(
        [
            *QUICK, f"data.path={data}", f"encoder={encoder}", f"out={folder / 'out'}",
            "fraction=[0.1,1.0]", "seeds=1", "report.examples=3",
        ]
    )  # fmt: skip
    assert code == 0
    return folder / "out"


@pytest.fixture(scope="module")
def results(evaluation):
    return json.loads((evaluation / "results.json").read_text())


@pytest.fixture(scope="module")
def page(evaluation):
    return (evaluation / "report.html").read_text()


def test_evaluation_leaves_exactly_these_files(evaluation):
    found = {str(p.relative_to(evaluation)) for p in evaluation.rglob("*") if p.is_file()}
    plots = {f"plots/dice_{n}.{s}" for n in ("all", "positive", "pooled") for s in ("svg", "png")}
    pictures = {f"pictures/{k:03}.png" for k in (1, 2, 3)} | {"pictures/pictures.json"}
    files = {"results.json", "report.html", "drawn_ids.parquet"}
    assert found == plots | pictures | files


def test_every_encoder_and_draw_has_each_convention(results):
    rows = [r for r in results["rows"] if r["protocol"] == "frozen"]
    found = {(r["encoder"], r["fraction"], r["metric"]) for r in rows}
    metrics = ("dice_all", "dice_positive", "dice_pooled", "empty_specificity")
    assert found == {(e, f, m) for e in ("encoder", "random") for f in (0.1, 1.0) for m in metrics}
    assert {r["n_train"] for r in rows} == {4, 40}
    assert results["task"] == "segmentation"


def test_trivial_predictors_are_rows(results):
    rows = {r["metric"]: r["value"] for r in results["rows"] if r["protocol"] == "none"}
    positives = results["data"]["foreground"]["test"]["positive"] / 20
    box = (80 / 256) ** 2
    assert rows["dice_all_empty_baseline"] == pytest.approx(1 - positives)
    assert rows["dice_positive_ones_baseline"] == pytest.approx(2 * box / (1 + box))
    ones = positives * rows["dice_positive_ones_baseline"]
    assert rows["dice_all_ones_baseline"] == pytest.approx(ones)


def test_score_that_predicting_nothing_beats_is_marked(results, page):
    empty = next(r["value"] for r in results["rows"] if r["metric"] == "dice_all_empty_baseline")
    rows = [r for r in results["rows"] if r["metric"] == "dice_all"]
    assert {("below the all-empty" in r["note"]) == (r["value"] < empty) for r in rows} == {True}
    below = [r for r in results["summary"] if r["metric"] == "dice_all" and r["value"] < empty]
    assert page.count("<small>below all-empty</small>") == len(below)


def test_intervals_hold_their_values_and_differences_are_paired(results):
    rows = [r for r in results["rows"] if r["ci_low"] is not None]
    assert rows and all(r["ci_low"] <= r["value"] <= r["ci_high"] for r in rows)
    assert {d["metric"] for d in results["differences"]} == {
        "dice_all", "dice_positive", "dice_pooled",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "Predicting nothing scores a Dice of", "marking every pixel", "By view", "Blue: outline",
        "no BatchNorm statistic of it moves", "segmentation-models-pytorch", "Differences",
        "data:image/png;base64", "Foreground: Lung Opacity",
    ],
)  # fmt: skip
def test_report_contains(page, text):
    assert text in page


def test_dice_of_each_view_is_kept(results):
    assert {g["view"] for g in results["views"]["groups"]} == {"AP", "PA"}
    assert {r["encoder"] for r in results["views"]["within"]} == {"encoder", "random"}


def test_real_studies_are_not_pictured_and_their_gaps_are_told(tmp_path, encoder, capsys):
    unlabelled = [f"study{k}" for k in range(60, 64)]
    data = write_lesions(tmp_path / "data", keep=lambda i: i not in unlabelled)
    code = call_program(
        [
            *QUICK, f"data.path={data}", f"encoder={encoder}", f"out={tmp_path / 'out'}",
            "fraction=0.05", "seeds=1", "random=false", "task.lr=1e30", "task.epochs=2",
        ]
    )  # fmt: skip
    out = capsys.readouterr().out
    assert code == 0
    assert not (tmp_path / "out/pictures").exists()
    assert "but nothing is drawn in them: they are in no split" in out
    assert "diverged (NaN or infinite loss)" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["task.batchnorm=thaw"], "task.batchnorm is 'thaw'; give frozen or update"),
        (["task.loss=hinge"], "task.loss is 'hinge'; give focal_dice or cross_entropy_dice"),
        (["task.affine.scale=2"], "task.affine.scale is 2.0"),
        (["task.batch_size=0"], "task.batch_size is 0; give 1 or more"),
        (["task.image_size=100"], "give task.image_size=96 or another multiple of 32"),
        (["task.protocol=linear"], "task.protocol is 'linear'; give frozen"),
        (["task.augment.flip=true"], "task.augment is given, which task=segmentation"),
        (["data.path=PLAIN"], "csv came without masks or boxes"),
        (["data.path=DATA", "task.finding=ring"], "task.finding is 'ring'"),
        (["data.path=UNTESTED"], "no image of split 'test'"),
        (["data.path=UNTRAINED"], "no image of split 'train'"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_error_line_and_leaves_nothing(
    bad_folders, encoder, capsys, tmp_path, arguments, message
):
    for name, folder in bad_folders.items():
        arguments = [a.replace(name, str(folder)) for a in arguments]
    out = tmp_path / "out"
    code = call_program([*QUICK, f"encoder={encoder}", f"out={out}", *arguments])
    err = capsys.readouterr().err
    assert code == 2
    assert err.startswith("error: ") and message in err and err.count("\n") == 1
    assert not out.exists()


@pytest.fixture(scope="module")
def bad_folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("bad")
    number = {f"study{k}": k for k in range(len(SPLITS))}
    return {
        "PLAIN": write_prepared(root / "plain"),
        "DATA": write_lesions(root / "data"),
        "UNTESTED": write_lesions(root / "untested", keep=lambda i: number[i] < 60),
        "UNTRAINED": write_lesions(root / "untrained", keep=lambda i: number[i] >= 40),
    }


@pytest.mark.slow
def test_encoder_that_saw_the_discs_beats_marking_everything(encoder, tmp_path):
    data = write_lesions(tmp_path / "data")
    code = call_program(
        [
            *QUICK, f"data.path={data}", f"encoder={encoder}", f"out={tmp_path / 'out'}",
            "fraction=1.0", "task.epochs=6",
        ]
    )  # fmt: skip
    rows = json.loads((tmp_path / "out/results.json").read_text())["rows"]
    value = {(r["encoder"], r["metric"]): r["value"] for r in rows}
    assert code == 0
    ones = value["all_ones", "dice_positive_ones_baseline"]
    assert value["encoder", "dice_positive"] > ones + 0.3
    assert value["encoder", "dice_all"] > value["all_empty", "dice_all_empty_baseline"]
    assert np.isfinite(list(value.values())).all()
