"""``python -m mflag.ablate``: what it runs, what it keeps, what it refuses, what it compares."""

import functools
import json
import shutil
import signal
from typing import Any

import pytest
from omegaconf import OmegaConf

from mflag.ablation.command_line import quote_lists
from mflag.ablation.plan import make_plan
from mflag.ablation.report import build_plots
from mflag.config.ablate import AblateConfig
from mflag.config.compose import compose
from mflag.data.preparing import prepare_phantom
from mflag.models import load_encoder
from tests.ablation.programs import Programs, call_ablate

QUICK = ("seeds=2", "random=false", "fraction=[0.5,1.0]")


@pytest.fixture
def ablate(studies, tmp_path, programs, capsys):
    """Run Table 4 with two seeds and other words; give exit code and stderr."""

    def run(*words):
        programs.calls.clear()
        code = call_ablate(f"data.path={studies}", f"out={tmp_path / 'out'}", *QUICK, *words)
        return code, capsys.readouterr().err

    return run


@pytest.fixture(scope="session")
def one_finished(studies, tmp_path_factory):
    """What ``ablate()`` leaves."""
    out = tmp_path_factory.mktemp("finished") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mflag.ablation.run.run_program", Programs().run)
        patch.setattr("mflag.ablation.write_ablation.build_plots", lambda results: {})
        assert call_ablate(f"data.path={studies}", f"out={out}", *QUICK) == 0
    return out


@pytest.fixture
def finished(one_finished, tmp_path):
    """A copy of it in the test's own folder."""
    shutil.copytree(one_finished, tmp_path / "out")


def content(tmp_path):
    return json.loads((tmp_path / "out" / "ablation.json").read_text())


def test_table_4_trains_and_evaluates_every_variant_seed_by_seed(ablate, programs, tmp_path):
    assert ablate()[0] == 0
    runs = [f"{v}/seed_{s}" for s in (0, 1) for v in ("both", "align_only", "orth_only")]
    assert programs.names() == [(p, run) for run in runs for p in ("train", "evaluate")]
    for run in runs:
        assert (tmp_path / "out" / run / "evaluation" / "results.json").is_file()


def test_table_5_trains_six_depths_of_minilm(ablate, programs, monkeypatch):
    # the package may be absent here; what is asked of mflag.train is what counts
    monkeypatch.setattr("mflag.ablation.plan.validate", lambda config: None)
    assert ablate("table=5", "seeds=1", "train=['train.epochs=1']")[0] == 0
    trainings = [words for program, words in programs.calls if program == "mflag.train"]
    assert all("text=minilm" in words for words in trainings)
    assert [w for words in trainings for w in words if w.startswith("text.unfreeze")] == [
        f"text.unfreeze_last={k}" for k in range(7)
    ]


@pytest.mark.usefixtures("finished")
def test_finished_pieces_are_not_repeated(ablate, programs):
    code, err = ablate()
    assert code == 0 and programs.calls == []
    assert "12 of 12 pieces are done already" in err


@pytest.mark.usefixtures("finished")
def test_only_the_deleted_evaluation_is_repeated(ablate, programs, tmp_path):
    shutil.rmtree(tmp_path / "out/align_only/seed_1/evaluation")
    assert ablate()[0] == 0
    assert programs.names() == [("evaluate", "align_only/seed_1")]


@pytest.mark.usefixtures("finished")
def test_training_again_makes_its_evaluations_again(ablate, programs, tmp_path):
    (tmp_path / "out/align_only/seed_1/model_card.md").unlink()  # killed before its end
    assert ablate()[0] == 0
    assert programs.names() == [("train", "align_only/seed_1"), ("evaluate", "align_only/seed_1")]
    assert "resume=auto" in programs.calls[0][1]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train=[preset=demo,train.epochs=3]", "train.epochs was 6, is 3"),
        ("train=[preset=demo,optim.lr=0.01]", "optim.lr was 0.001, is 0.01"),
        ("draws=4", "seeds was 3, is 4"),
        ("evaluate=[task.resamples=10]", "task.resamples was 1000, is 10"),
    ],
)
@pytest.mark.usefixtures("finished")
def test_changed_settings_are_refused_by_name(ablate, programs, word, said):
    code, err = ablate(*quote_lists([word]))
    assert code == 2 and programs.calls == []
    assert err.startswith("error: ") and said in err and "overwrite=true" in err


@pytest.mark.usefixtures("finished")
def test_overwrite_repeats_only_what_has_other_settings(ablate, programs):
    assert ablate("draws=4", "overwrite=true")[0] == 0
    assert {program for program, _ in programs.calls} == {"mflag.evaluate"}
    assert ablate("draws=4", "train=['preset=demo','train.epochs=3']", "overwrite=true")[0] == 0
    assert len(programs.calls) == 12
    assert all("overwrite=true" in words for _, words in programs.calls)


@pytest.mark.usefixtures("finished")
def test_places_and_compute_may_differ(ablate, programs):
    code, _ = ablate("train=['preset=demo','compute.device=cpu','log.every=7']")
    assert code == 0 and programs.calls == []


def test_a_failing_variant_is_told_at_the_end_and_the_others_are_kept(ablate, programs, tmp_path):
    programs.breaks = {"loss.orthogonality_weight=0": 3}
    code, err = ablate()
    assert code == 4
    assert "error: 2 of the runs failed: align_only seed 0, training: exit code 3" in err
    assert "loss.orthogonality_weight=0 cannot be" in err
    assert ("evaluate", "align_only/seed_0") not in programs.names()
    found = content(tmp_path)
    assert {row["variant"] for row in found["rows"]} == {"both", "orth_only"}
    assert [(f["variant"], f["seed"]) for f in found["failures"]] == [
        ("align_only", 0), ("align_only", 1),
    ]  # fmt: skip
    programs.breaks = {}
    assert ablate()[0] == 0
    assert len(programs.calls) == 4 and content(tmp_path)["failures"] == []


def test_a_failing_reference_leaves_the_others_compared_with_nothing(ablate, programs, tmp_path):
    programs.breaks = {"seed=0": -9, "seed=1": -9}
    assert ablate()[0] == 4
    assert not (tmp_path / "out/ablation.json").exists()
    programs.breaks = {"loss.orthogonality_weight=0": -9}
    code, err = ablate("reference=align_only")
    assert code == 4 and "out of memory?" in err
    assert content(tmp_path)["differences"] == []


def test_a_signal_stops_after_the_piece_at_hand_and_the_same_command_goes_on(ablate, programs):
    def stop(program, words):
        if len(programs.calls) == 3:
            signal.raise_signal(signal.SIGTERM)

    programs.before = stop
    code, err = ablate()
    assert code == 0 and len(programs.calls) == 3
    assert "SIGTERM: go on with the same command" in err
    programs.before = lambda program, words: None
    assert ablate()[0] == 0
    assert len(programs.calls) == 12 - 3


def test_ctrl_c_exits_with_130(ablate, programs):
    programs.before = lambda program, words: signal.raise_signal(signal.SIGINT)
    assert ablate()[0] == 130


@pytest.mark.usefixtures("finished")
def test_summary_is_the_mean_over_seeds_with_students_interval(ablate, tmp_path):
    found = content(tmp_path)
    rows = [
        row["value"]
        for row in found["rows"]
        if (row["variant"], row["fraction"], row["metric"]) == ("both", 0.5, "macro_auc")
    ]
    (mean,) = [
        row
        for row in found["summary"]
        if (row["variant"], row["fraction"], row["metric"]) == ("both", 0.5, "macro_auc")
    ]
    half = 12.706 * abs(rows[0] - rows[1]) / 2  # t of one degree of freedom; sd / √2
    assert mean["value"] == pytest.approx(sum(rows) / 2) and mean["n"] == 2
    assert mean["ci_high"] - mean["value"] == pytest.approx(half, rel=1e-4)
    assert mean["patients_half_width"] == pytest.approx(0.15)


@pytest.mark.usefixtures("finished")
def test_only_whole_scores_are_compared(ablate, tmp_path):
    assert {row["metric"] for row in content(tmp_path)["rows"]} == {"macro_auc", "rankme"}


@pytest.mark.usefixtures("finished")
def test_variants_are_described_by_their_own_settings(ablate, tmp_path):
    found = {v["name"]: v for v in content(tmp_path)["variants"]}
    assert found["align_only"]["settings"] == {
        "loss.alignment_weight": 1.0,
        "loss.orthogonality_weight": 0.0,
        "loss.orthogonality_share": None,
    }
    assert len({v["hash"] for v in found.values()}) == 3
    assert found["both"]["seeds"] == [0, 1]


def test_page_plots_and_markdown_show_every_variant(ablate, tmp_path, monkeypatch):
    monkeypatch.setattr("mflag.ablation.write_ablation.build_plots", build_plots)
    ablate("seeds=1")
    page = (tmp_path / "out/report.html").read_text()
    text = (tmp_path / "out/ablation.md").read_text()
    for name in ("both", "align_only", "orth_only"):
        assert f">{name}<" in page and f"| {name} | 1 |" in text
    assert page.count("<svg") == 2
    assert {path.name for path in (tmp_path / "out/plots").iterdir()} == {
        f"ablation-{name}.{suffix}"
        for name in ("classification-linear-macro_auc", "geometry-frozen-rankme")
        for suffix in ("svg", "png")
    }


@pytest.mark.usefixtures("finished")
def test_collecting_reads_what_lies_there_and_runs_nothing(ablate, programs, tmp_path):
    before = content(tmp_path)
    shutil.rmtree(tmp_path / "out/orth_only/seed_1/evaluation")
    (tmp_path / "out/orth_only").rename(tmp_path / "out/renamed")
    programs.calls.clear()
    assert call_ablate("collect_only=true", f"out={tmp_path / 'out'}") == 0
    found = content(tmp_path)
    assert programs.calls == [] and found["reference"] == "both"
    assert found["missing"] == ["renamed seed 1"]
    hashes = [{v["hash"] for v in c["variants"]} for c in (before, found)]
    assert hashes[0] == hashes[1]


@pytest.mark.usefixtures("finished")
def test_collecting_refuses_a_folder_that_is_not_the_seed_it_says(ablate, tmp_path, capsys):
    (tmp_path / "out/both/seed_1").rename(tmp_path / "out/both/seed_2")
    assert call_ablate("collect_only=true", f"out={tmp_path / 'out'}") == 2
    assert "holds a run of seed 1; rename it to seed_1" in capsys.readouterr().err


@pytest.mark.usefixtures("finished")
def test_collecting_refuses_seeds_of_different_recipes(ablate, tmp_path, capsys):
    path = tmp_path / "out/both/seed_1/config.yaml"
    config = OmegaConf.load(path)
    config.loss.norm = "sample"
    OmegaConf.save(config, path)
    assert call_ablate("collect_only=true", f"out={tmp_path / 'out'}") == 2
    assert "loss.norm was 'standardize', is 'sample'" in capsys.readouterr().err


@pytest.mark.usefixtures("finished")
def test_collecting_refuses_evaluations_that_differ(ablate, tmp_path, capsys):
    path = tmp_path / "out/both/seed_1/evaluation/results.json"
    path.write_text(path.read_text().replace("seeds=3", "seeds=7"))
    assert call_ablate("collect_only=true", f"out={tmp_path / 'out'}") == 2
    assert "cannot be compared: seeds was 3, is 7" in capsys.readouterr().err


@pytest.mark.usefixtures("finished")
def test_two_scores_of_one_run_are_refused(ablate, tmp_path, capsys):
    run = tmp_path / "out/both/seed_1"
    shutil.copytree(run / "evaluation", run / "evaluation_again")
    assert call_ablate("collect_only=true", f"out={tmp_path / 'out'}") == 2
    assert "score the same task of one run" in capsys.readouterr().err


@pytest.mark.usefixtures("finished")
def test_seeds_beyond_those_asked_for_are_left_out(ablate, programs, tmp_path):
    assert ablate("seeds=1")[0] == 0 and programs.calls == []
    assert {row["seed"] for row in content(tmp_path)["rows"]} == {0}


@pytest.mark.usefixtures("finished")
def test_an_evaluation_that_fails_leaves_no_older_scores(ablate, programs, tmp_path):
    programs.breaks = {"seeds=5": 1}
    assert ablate("draws=5", "overwrite=true")[0] == 4
    assert not list((tmp_path / "out").glob("*/seed_*/evaluation/results.json"))


def test_variants_without_alignment_are_asked_nothing_of_texts(studies, tmp_path):
    words = [f"data.path={studies}", f"out={tmp_path / 'out'}", "tasks=[retrieval]", "seeds=1"]
    plan = make_plan(compose("ablate", AblateConfig, words))
    asked = {t.variant.name: len(of_one) for t, of_one in plan.evaluations.items()}
    assert asked == {"both": 1, "align_only": 1, "orth_only": 0, "random": 0}


def test_untrained_weights_differ_by_seed_and_are_kept(ablate, programs, tmp_path):
    words = ("random=true", "table=none", "grid={loss.norm:[none]}")
    assert ablate(*words)[0] == 0
    first, second = (
        tmp_path / "out/random" / f"seed_{k}" / "encoder.safetensors" for k in range(2)
    )
    assert first.read_bytes() != second.read_bytes()
    loaded: Any = load_encoder(first)
    assert loaded.metadata["arch"] == "resnet18"
    (variant,) = [v for v in content(tmp_path)["variants"] if v["name"] == "random"]
    assert not variant["is_trained"]
    assert ablate(*words)[0] == 0 and programs.calls == []


def test_each_task_has_a_folder_of_its_own(ablate, programs, monkeypatch, tmp_path):
    from mflag.ablation import plan

    monkeypatch.setattr(plan, "TASKS", plan.TASKS | {"other": plan.TASKS["classification"]})
    monkeypatch.setattr(plan, "_evaluation_words", lambda config, task, data: (
        *data, "fraction=[1.0]", f"task.name={task}"))  # fmt: skip
    assert ablate("tasks=[classification,other]", "seeds=1")[0] == 0
    assert (tmp_path / "out/both/seed_0/evaluation_other/results.json").is_file()
    assert {row["task"] for row in content(tmp_path)["rows"]} == {
        "classification", "other", "geometry",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["table=6"], "table is '6'; choose 4, 5, sweep"),
        (["table=none"], "grid is empty"),
        (["grid={loss.norm:[none]}"], "has variants of its own"),
        (["table=none", "grid={loss.norm:none}"], "give a list"),
        (["table=none", "grid={loss.norm:[none,none]}"], "two variants the name 'none'"),
        (["table=none", "grid={loss.nrom:[none]}"], "nrom"),
        (["table=none", "grid={loss.norm:[odd]}"], "variant odd: "),
        (["train=['seed=3']"], "which mflag.ablate sets itself"),
        (["train=['preset']"], "give KEY=VALUE"),
        (["evaluate=['out=x']"], "which mflag.ablate sets itself"),
        (["tasks=[singing]"], "choose of classification"),
        (["tasks=[]"], "at most once"),
        (["seeds=0"], "seeds is 0; give 1 or more"),
        (["fraction=2"], "fraction is 2"),
        (["reference=none"], "reference is 'none'; choose one of both, align_only, orth_only"),
        (["data.path=/nowhere"], "/nowhere"),
        (["collect_only=true"], "holds no evaluated run"),
        (["table=5", "train=['text.path=/nowhere']"], "variant both: "),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_and_leaves_nothing(
    ablate, programs, tmp_path, words, said
):
    code, err = ablate(*words)
    assert code == 2 and programs.calls == []
    assert err.count("\n") == 1 and err.startswith("error: ") and said in err
    assert not (tmp_path / "out").exists()


def test_generated_studies_are_made_once_in_the_folder(programs, tmp_path, monkeypatch):
    one_process = functools.partial(prepare_phantom, workers=1)
    monkeypatch.setattr("mflag.ablation.plan.prepare_phantom", one_process)
    words = ("data.size=40", f"out={tmp_path / 'out'}", "seeds=1", "random=false")
    assert call_ablate(*words) == 0
    assert json.loads((tmp_path / "out/data/prepared.json").read_text())["count"] == 40
    assert content(tmp_path)["data"]["generated"]["size"] == 40
    assert call_ablate(*words, "data.size=50") == 2


def test_two_at_once_in_one_folder_are_refused(ablate, programs, tmp_path):
    said: list[int] = []

    def second(program, words):
        if not said:
            said.append(call_ablate(*words_of_out(tmp_path)))

    def words_of_out(folder):
        data = next(w for w in programs.calls[0][1] if w.startswith("data.path="))
        return (data, f"out={folder / 'out'}", *QUICK)

    programs.before = second
    assert ablate()[0] == 0
    assert said == [2]
