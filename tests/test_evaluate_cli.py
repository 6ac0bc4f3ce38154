"""``python -m mflag.evaluate`` as people call it."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from mflag.models import build_encoder
from mflag.models.encoder_file import save_encoder
from tests.evaluate_program import SPLITS, call_program, write_encoder, write_prepared

ROW_FIELDS = {
    "task", "dataset", "encoder", "protocol", "fraction", "seed", "metric", "value", "ci_low",
    "ci_high", "n_train", "n_test", "note", "n_classes_used",
}  # fmt: skip


def attribute(seed):
    return np.random.default_rng(seed).normal(size=len(SPLITS)).astype(np.float32)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder"))


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
        "drawn_ids.parquet", "pictures", "plots", "report.html", "results.json",
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


@pytest.fixture(scope="module")
def crossed(encoder, tmp_path_factory):
    """Folder of a cross-validated probe beside random weights and pixels."""
    folder = tmp_path_factory.mktemp("crossed")
    prepared = write_prepared(folder / "prepared", **{"attribute/rotation": attribute(1)})
    arguments = [
        f"data.path={prepared}", f"encoder={encoder}", f"out={folder / 'out'}", "task.folds=4",
        "fraction=1.0", "seeds=2", "pixels=true", "imagenet=false", "task.resamples=50",
    ]  # fmt: skip
    assert call_program(arguments) == 0
    return folder / "out"


def test_cross_validation_scores_all_images_once_a_repetition(crossed):
    results = json.loads((crossed / "results.json").read_text())
    rows = [row for row in results["rows"] if row["metric"] == "macro_auc"]
    assert [(row["encoder"], row["seed"]) for row in rows] == [
        (name, seed) for name in ("encoder", "random", "pixels") for seed in (0, 1)
    ]
    assert {(row["n_train"], row["n_test"]) for row in rows} == {(60, 80)}
    assert results["options"]["folds"] == 4 and results["data"]["test_patients"] == 40
    assert values(results, encoder="pixels", metric="macro_auc")[0] > 0.9
    assert values(results, metric="unmentioned_r2/rotation")


def test_report_tells_of_the_cross_validation_and_of_pixels(crossed):
    page = (crossed / "report.html").read_text()
    assert "4-fold cross-validation of 80 images" in page and "Cross-validation" in page
    assert "pixels averaged to 32 x 32" in page


def test_pixels_serve_the_linear_probe_alone(tmp_path, encoder, capsys):
    words = ["task.protocol=finetune", "pixels=true", f"encoder={encoder}", f"out={tmp_path / 'o'}"]
    assert call_program(words) == 2
    assert "leave finetune out" in capsys.readouterr().err
