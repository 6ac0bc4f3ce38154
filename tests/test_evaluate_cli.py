"""``python -m mflag.evaluate`` as people call it."""

import hashlib
import json
import re
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

ROW_FIELDS = {
    "task", "dataset", "encoder", "protocol", "fraction", "seed", "metric", "value", "ci_low",
    "ci_high", "n_train", "n_test", "note", "n_classes_used",
}  # fmt: skip
TUNE = ["encoder=ENCODER", "task.protocol=finetune"]
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


def attribute(seed):
    return np.random.default_rng(seed).normal(size=len(SPLITS)).astype(np.float32)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    save_encoder(path, build_encoder("resnet18"), "resnet18", 32)
    return path


def call_program(arguments):
    """Run the program in this process; give its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["mflag.evaluate", *map(str, arguments)])
        try:
            cli.run(main, "evaluate", EvaluateConfig)
        except SystemExit as exit_:
            return exit_.code
    return 0


@pytest.fixture(scope="module")
def evaluation(encoder, tmp_path_factory):
    """Folder of one evaluation of generated studies: two encoders and random, two fractions."""
    folder = tmp_path_factory.mktemp("evaluation")
    rare = np.zeros(len(SPLITS), np.float32)
    rare[40:42] = 1
    unknown = (np.arange(len(SPLITS)) % 3 == 0).astype(np.float32)
    unknown[:20] = np.nan
    prepared = write_prepared(
        folder / "prepared",
        "phantom",
        **{"label/rare": rare, "label/<script>": unknown, "attribute/rotation": attribute(1)},
    )
    code = call_program(
        [
            "task=classification",
            f"data.path={prepared}",
            f"encoders={{mflag:{encoder},other:{encoder}}}",
            f"out={folder / 'out'}",
            "fraction=[0.5,1.0]",
            "seeds=2",
            "imagenet=false",
        ]
    )
    assert code == 0
    return folder / "out"


@pytest.fixture(scope="module")
def results(evaluation):
    return json.loads((evaluation / "results.json").read_text())


@pytest.fixture(scope="module")
def page(evaluation):
    return (evaluation / "report.html").read_text()


def values(results, **wanted):
    return [
        row["value"]
        for row in results["rows"]
        if all(row[key] == value for key, value in wanted.items())
    ]


def test_evaluation_leaves_exactly_these_files(evaluation):
    assert sorted(path.name for path in evaluation.iterdir()) == [
        "drawn_ids.parquet", "plots", "report.html", "results.json",
    ]  # fmt: skip
    assert {path.suffix for path in (evaluation / "plots").iterdir()} == {".svg", ".png"}


def test_every_row_has_the_stable_fields(results):
    assert results["format"] == 1
    assert all(set(row) == ROW_FIELDS for row in results["rows"])


def test_every_encoder_has_two_draws_of_half_and_one_of_all(results):
    draws = [
        (row["encoder"], row["fraction"], row["seed"])
        for row in results["rows"]
        if row["metric"] == "macro_auc"
    ]
    expected = [(0.5, 0), (0.5, 1), (1.0, 0)]
    assert draws == [(name, *draw) for name in ("mflag", "other", "random") for draw in expected]


def test_macro_auc_says_how_many_classes_it_is_the_mean_of(results):
    used = {row["metric"]: row["n_classes_used"] for row in results["rows"]}
    assert used["macro_auc"] == 2 and used["auc/disc"] is None


def test_ids_of_the_drawn_labels_are_kept(evaluation, results):
    drawn = pd.read_parquet(evaluation / "drawn_ids.parquet")
    assert drawn.groupby(["fraction", "seed"]).size().to_dict() == {(0.5, 0): 20, (0.5, 1): 20}
    assert set(drawn["id"]) < {f"study{k}" for k in range(40)}


def test_intervals_hold_their_values(results):
    rows = [row for row in results["rows"] if row["metric"] == "macro_auc"]
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows)


def test_equal_encoders_get_equal_values_and_a_difference_of_zero(results):
    assert values(results, encoder="mflag") == values(results, encoder="other")
    same = [d for d in results["differences"] if (d["encoder"], d["minus"]) == ("mflag", "other")]
    assert [(d["value"], d["ci_low"], d["ci_high"]) for d in same] == [(0, 0, 0)] * 4


def test_class_without_drawn_positives_is_left_out_by_name(results):
    row = next(row for row in results["rows"] if row["metric"] == "macro_auc")
    assert row["note"].startswith("left out") and "rare" in row["note"]
    assert not values(results, metric="auc/rare")
    assert row["value"] == pytest.approx(
        np.mean(
            [
                *values(results, encoder="mflag", fraction=0.5, seed=0, metric="auc/disc"),
                *values(results, encoder="mflag", fraction=0.5, seed=0, metric="auc/<script>"),
            ]
        )
    )


def test_visible_finding_is_found_in_random_features(results):
    assert values(results, encoder="random", fraction=1.0, metric="auc/disc")[0] > 0.9


def test_unmentioned_r2_is_the_mean_over_attributes(results):
    mean = values(results, metric="unmentioned_r2")
    assert mean == values(results, metric="unmentioned_r2/rotation")
    assert len(mean) == 9


def test_results_say_where_they_come_from(results):
    assert results["command"].startswith("python -m mflag.evaluate task=classification")
    assert {"torch", "scikit-learn", "python"} <= set(results["versions"])
    assert results["machine"]


@pytest.fixture(scope="module")
def tuned(encoder, tmp_path_factory):
    """Folder of a linear probe and a fine-tuning of images with views and without reports."""
    folder = tmp_path_factory.mktemp("tuned")
    uncertain = np.where(np.arange(len(SPLITS)) % 5 == 0, -1, np.arange(len(SPLITS)) % 2)
    prepared = write_prepared(
        folder / "prepared",
        text="",
        view=["AP", "PA"] * 40,
        age=np.arange(80.0),
        **{"label/uncertain": uncertain.astype(np.float32)},
    )
    code = call_program(
        [
            f"data.path={prepared}", f"encoder={encoder}", f"out={folder / 'out'}", "seeds=1",
            "fraction=[0.025,1.0]", "random=true", "imagenet=false", "task.resamples=50",
            "task.protocol=[linear,finetune]", "task.label_policy=ignore", "task.epochs=1",
            "task.batch_size=8", "task.lr=1e-3",
        ]
    )  # fmt: skip
    assert code == 0
    return folder / "out"


@pytest.fixture(scope="module")
def tuned_results(tuned):
    return json.loads((tuned / "results.json").read_text())


def test_both_protocols_have_rows(tuned_results):
    found = {(r["encoder"], r["protocol"]) for r in tuned_results["rows"] if r["fraction"] == 1}
    names = ("encoder", "random")
    assert found == {(name, p) for name in names for p in ("linear", "finetune")}
    assert {r["protocol"] for r in tuned_results["differences"]} == {"linear", "finetune"}


def test_course_of_fine_tuning_is_kept(tuned_results):
    course = [row for row in tuned_results["finetuning"] if row["fraction"] == 1]
    assert [(row["encoder"], row["epochs"], row["best_epoch"]) for row in course] == [
        ("encoder", 1, 1), ("random", 1, 1),
    ]  # fmt: skip
    assert all(0 <= auc <= 1 for row in course for auc in row["valid_macro_auc"])


def test_label_policy_is_kept_with_what_it_decided(tuned_results):
    assert tuned_results["options"]["label_policy"] == "ignore"
    assert tuned_results["options"]["finetune"]["epochs"] == 1
    assert tuned_results["data"]["labels"]["uncertain"]["test"]["unknown"] == 4


def test_fraction_that_empties_a_class_is_said_and_the_rest_goes_on(tuned_results):
    said = [note for note in tuned_results["notes"] if note.startswith("fraction 0.025")]
    assert any("among the drawn labels" in note for note in said)
    assert any(row["fraction"] == 1 for row in tuned_results["rows"])


def test_view_that_gives_a_label_away_is_told(tuned_results):
    (first, *_) = tuned_results["shortcuts"]["sentences"]
    assert first.startswith("uncertain is positive in") and "view alone" in first


@pytest.mark.parametrize(
    "text",
    [
        "encoder, fine-tuned",
        "Linear probes of frozen features and fine-tuning of all layers",
        "Label policy ignore: uncertain is left out",
        "By age, split at the median",
        "view alone, without a look at the image, reaches an AUC of",
        "labels used",
        "8 uncertain",
    ],
)
def test_report_of_both_protocols_contains(tuned, text):
    assert text in (tuned / "report.html").read_text()


def test_fine_tuning_alone_needs_no_probe(tmp_path, encoder):
    page = evaluate_real(
        tmp_path, encoder, "task.protocol=finetune", "task.epochs=1", "task.batch_size=20",
        "task.resamples=20",
    )  # fmt: skip
    assert "Fine-tuning of all layers" in page and "Linear probe" not in page


@pytest.mark.parametrize(
    "text",
    [
        "Research use only. Not a medical device.",
        "Macro AUC on test",
        "AUC of each label at 100",
        "What no report mentions",
        "RankMe",
        "Positives / negatives of each label",
        "left out",
        "Bootstrap over the 10 test patients",
        "python -m mflag.evaluate task=classification",
    ],
)
def test_report_contains(page, text):
    assert text in page


def test_report_escapes_label_names_and_report_text(page):
    assert "<script" not in page
    assert "Secret report 60 &lt;script&gt;" in page


def test_report_fetches_nothing(page):
    assert not re.search(r'https?:|//[a-z]+\.|@import|url\((?!#)|<link|src="(?!data:)', page)


def evaluate_real(tmp_path, encoder, *arguments, **info):
    prepared = write_prepared(tmp_path / "prepared")
    content = json.loads((prepared / "prepared.json").read_text())
    (prepared / "prepared.json").write_text(json.dumps(content | info))
    code = call_program(
        [
            f"data.path={prepared}", f"encoder={encoder}", f"out={tmp_path / 'out'}",
            "fraction=1.0", "random=false", "imagenet=false", *arguments,
        ]
    )  # fmt: skip
    assert code == 0
    return (tmp_path / "out" / "report.html").read_text()


def test_report_of_real_studies_shows_neither_images_nor_text(tmp_path, encoder):
    page = evaluate_real(tmp_path, encoder)
    assert "Secret report" not in page and "<img" not in page


def test_real_images_are_shown_on_request_with_a_warning(tmp_path, encoder, capsys):
    page = evaluate_real(tmp_path, encoder, "report.embed_images=true")
    assert "Secret report" in page and "<img" in page
    assert "warning: report.html will hold images" in capsys.readouterr().err


def test_imagenet_weights_that_are_not_here_are_a_note(tmp_path, encoder, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    page = evaluate_real(tmp_path, encoder, "imagenet=auto")
    assert "no ImageNet row" in page


def test_warnings_of_prepare_reach_report_results_and_terminal(tmp_path, encoder, capsys):
    remarks = ["warning: 3 of 20 test patients are also in train", "note: no boxes"]
    page = evaluate_real(tmp_path, encoder, "task.resamples=20", remarks=remarks)
    said = "warning from prepare: 3 of 20 test patients are also in train"
    assert said in page and "no boxes" not in page
    assert f"note: {said}\n" in capsys.readouterr().out
    assert said in json.loads((tmp_path / "out" / "results.json").read_text())["notes"]


@pytest.mark.parametrize(
    ("trained_on", "warns"), [("nih", True), ("chexpert", False), (None, False)]
)
def test_encoder_of_a_set_that_holds_the_test_images_is_told(tmp_path, trained_on, warns):
    encoder = tmp_path / "encoder.safetensors"
    save_encoder(encoder, build_encoder("resnet18"), "resnet18", 32, trained_on)
    page = evaluate_real(tmp_path, encoder, "task.resamples=20", dataset="rsna")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["encoders"][0]["dataset"] == trained_on
    assert ("encoder was trained on nih, and these data are rsna" in page) == warns


def test_overwrite_replaces_results(tmp_path, encoder):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("old")
    assert evaluate_real(tmp_path, encoder, "overwrite=true") != "old"


def test_generated_studies_are_made_and_on_overwrite_replaced(tmp_path, encoder):
    arguments = [
        "data=phantom", f"encoder={encoder}", f"out={tmp_path / 'out'}", "fraction=1.0",
        "random=false", "imagenet=false", "task.resamples=20",
    ]  # fmt: skip
    assert call_program([*arguments, "data.size=30"]) == 0
    assert call_program([*arguments, "data.size=36", "overwrite=true"]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert sum(results["data"]["studies"].values()) == 36
    assert results["data"]["dataset"] == "phantom"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "add encoder=FILE"),
        (["encoder=missing.safetensors"], "is missing"),
        (["encoder=junk.safetensors"], "is no safetensors file"),
        (["encoder=ENCODER", "encoders={a:b}"], "both given"),
        (["encoders={random:ENCODER}"], "is a baseline"),
        (["encoders=ENCODER"], "NAME:FILE"),
        (["encoder=ENCODER", "data.path=nowhere"], "is no folder"),
        (["encoder=ENCODER", "data.path=empty"], "was not made by mflag.prepare"),
        (["encoder=ENCODER", "data.path=other_format"], "has format 1 but this version reads"),
        (["encoder=ENCODER", "data.path=cut"], "was cut short"),
        (["encoder=ENCODER", "data.path=unlabelled"], "its columns are id, patient, split, text"),
        (["encoder=ENCODER", "data.path=untested"], "or choose another dataset.split"),
        (["encoder=ENCODER", "data.size=5"], "data.size is 5; give 30 or more"),
        (["encoder=ENCODER", "data.path=good", "fraction=[0.1,1.5]"], "fraction is 1.5"),
        (["encoder=ENCODER", "data.path=good", "seeds=0"], "seeds is 0; give 1 or more"),
        (["encoder=ENCODER", "data.path=good", "imagenet=maybe"], "imagenet is 'maybe'"),
        (["encoder=ENCODER", "data.path=good", "compute.device=tpu"], "compute.device is 'tpu'"),
        (["encoder=ENCODER", "data.path=good", "out=used"], "add overwrite=true"),
        (["encoder=ENCODER", "data.path=good", "out=junk.safetensors"], "which is a file"),
        (["encoder=ENCODER", "data.path=good", "task=palmistry"], "classification"),
        (["encoder=ENCODER", "data.path=good", "task.name=palmistry"], "choose one of"),
        (["encoder=ENCODER", "epochs=1"], "epochs"),
        (["encoder=ENCODER", "task.protocol=[svm]"], "give linear, finetune or [linear,finetune]"),
        (["encoder=ENCODER", "task.protocol=[]"], "task.protocol is []"),
        (["encoder=ENCODER", "task.label_policy=U-ones"], "choose one of zeros, ones, ignore"),
        (["encoder=ENCODER", "data.path=good", "task.label_policy=mixed"], "the labels are disc"),
        ([*TUNE, "task.epochs=0"], "task.epochs is 0; give 1 or more"),
        ([*TUNE, "task.batch_size=1"], "task.batch_size is 1; give 2 or more"),
        ([*TUNE, "task.patience=0"], "task.patience is 0; give 1 or more"),
        ([*TUNE, "task.lr=0"], "task.lr is 0.0; give a number above 0"),
        ([*TUNE, "task.lr=nan"], "task.lr is nan"),
        ([*TUNE, "task.weight_decay=-1"], "task.weight_decay is -1.0"),
        ([*TUNE, "task.image_size=512"], "task.image_size is 512; give 32 to 256"),
        ([*TUNE, "data.path=good", "task.image_size=513"], "image_size is 513; give 32 to 512"),
        (
            [*TUNE, "data.path=good", "task.image_size=320"],
            "stores images of 256 x 256; give that or less",
        ),
        ([*TUNE, "task.augment.scale_min=0"], "augment.scale_min is 0.0"),
        ([*TUNE, "compute.precision=fp8"], "compute.precision is 'fp8'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "_".join(value) or "nothing",
)
def test_bad_input_is_one_error_line_and_leaves_nothing(
    bad_folder, encoder, capsys, arguments, message
):
    before = sorted(bad_folder.rglob("*"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(bad_folder)
        code = call_program([a.replace("ENCODER", str(encoder)) for a in arguments])
    err = capsys.readouterr().err
    assert code == 2
    assert err.startswith("error: ") and message in err and err.count("\n") == 1
    assert sorted(bad_folder.rglob("*")) == before
    assert not (encoder.parent / "evaluation").exists()


@pytest.fixture(scope="module")
def bad_folder(tmp_path_factory):
    """Good and spoilt prepared folders."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "junk.safetensors").write_bytes(b"junk")
    (folder / "empty").mkdir()
    (folder / "used").mkdir()
    (folder / "used" / "results.json").write_text("{}")
    write_prepared(folder / "good")
    write_prepared(folder / "untested", splits=["train"] * 4 + ["valid"] * 4)
    info = json.loads((write_prepared(folder / "other_format") / "prepared.json").read_text())
    (folder / "other_format" / "prepared.json").write_text(json.dumps(info | {"format": 1}))
    with open(write_prepared(folder / "cut") / "images.u8", "r+b") as file:
        file.truncate(1000)
    unlabelled = write_prepared(folder / "unlabelled")
    table = pd.read_parquet(unlabelled / "manifest.parquet").drop(columns="label/disc")
    table.to_parquet(unlabelled / "manifest.parquet")
    info = json.loads((unlabelled / "prepared.json").read_text())
    digest = hashlib.sha256((unlabelled / "manifest.parquet").read_bytes()).hexdigest()
    info["hashes"]["manifest.parquet"] = digest
    (unlabelled / "prepared.json").write_text(json.dumps(info))
    return folder
