"""``python -m mflag.train`` by its command line, in this process."""

import json
import shutil
import sys
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import load_file

from mflag import cli
from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.config.train import TrainConfig
from mflag.data.index_stream import IndexStream
from mflag.data.manifest import open_prepared
from mflag.data.preparing import prepare, prepare_phantom
from mflag.models import load_encoder
from mflag.runtime.checkpoint import list_checkpoints, read_checkpoint, save_checkpoint
from mflag.runtime.folder_lock import FolderLock
from mflag.train import main

FORMAT_9 = '{"format": 9, "count": 1, "hashes": {"manifest.parquet": "", "images.u8": ""}}'
NO_DALI = 'pip install "mflag[dali]"'
QUICK = ("train.image_size=32", "compute.device=cpu", "log.tensorboard=false")


@pytest.fixture
def train(monkeypatch, tmp_path, capsys):
    """Run the program in an empty folder; returns (exit code, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides):
        monkeypatch.setattr(sys, "argv", ["train", *overrides])
        code = 0
        try:
            cli.run(main, "train", TrainConfig)
        except SystemExit as left:
            code = int(left.code or 0)
        return code, capsys.readouterr().err

    return run


def steps_of(folder):
    return [
        json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]


def test_a_run_leaves_the_files_of_the_contract(train, prepared, tmp_path):
    code, _ = train(f"data.path={prepared.path}", "output_dir=run", *QUICK, "log.tensorboard=true")
    assert code == 0
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        "encoder.safetensors", "projector.safetensors", "text_embeddings.safetensors",
        "model_card.md", "config.yaml", "metrics.jsonl", "checkpoints", "tensorboard",
    }  # fmt: skip
    assert steps_of(tmp_path / "run") == [1, 5, 6]
    card = (tmp_path / "run" / "model_card.md").read_text()
    assert "Research use only; not a medical device." in card


def test_torchvision_loads_the_encoder_strictly(train, prepared, tmp_path):
    train(f"data.path={prepared.path}", "output_dir=run", *QUICK)
    model = torchvision.models.resnet18()
    model.fc = torch.nn.Identity()
    model.load_state_dict(load_file(tmp_path / "run" / "encoder.safetensors"), strict=True)
    images = torch.randn(2, 3, 64, 64)
    ours: Any = load_encoder(tmp_path / "run" / "encoder.safetensors")
    assert torch.equal(model.eval()(images), ours(images))
    assert ours.metadata["dataset"] == "csv"


def test_equal_runs_give_equal_bytes(train, prepared, tmp_path):
    for name in ("a", "b"):
        train(f"data.path={prepared.path}", f"output_dir={name}", *QUICK)
    a, b = (tmp_path / name / "encoder.safetensors" for name in ("a", "b"))
    assert a.read_bytes() == b.read_bytes()


def test_feeds_give_equal_bytes(train, prepared, tmp_path):
    for feed in ("cache", "torch"):
        train(f"data.path={prepared.path}", f"output_dir={feed}", f"feed={feed}", *QUICK)
    cache, loader = (tmp_path / name / "encoder.safetensors" for name in ("cache", "torch"))
    assert cache.read_bytes() == loader.read_bytes()


def test_a_file_that_vanishes_stops_dali_and_restored_it_goes_on_to_equal_bytes(
    train, prepared, tmp_path
):
    pytest.importorskip("nvidia.dali", reason=NO_DALI)
    files = tmp_path / "files"
    shutil.copytree(prepared.info["root"], files)
    stream = IndexStream(len(prepared.rows("train")), 4, seed=0)
    row = int(prepared.rows("train")[stream.positions(11)[0]])
    command = [
        f"data.path={prepared.path}", "train.batch_size=4", "train.epochs=1", "checkpoint.every=5",
        *QUICK,
    ]  # fmt: skip
    broken = [*command, "output_dir=broken", "feed=dali", f"feed.root={files}"]
    (files / f"s{row:03d}.png").rename(tmp_path / "away.png")
    code, err = train(*broken)
    assert code == 2 and f"error: {files}/s{row:03d}.png cannot be read" in err
    assert list_checkpoints(tmp_path / "broken" / "checkpoints")
    (tmp_path / "away.png").rename(files / f"s{row:03d}.png")
    assert train(*broken, "resume=auto")[0] == 0
    assert train(*command, "output_dir=whole")[0] == 0
    ended = [tmp_path / name / "encoder.safetensors" for name in ("broken", "whole")]
    assert ended[0].read_bytes() == ended[1].read_bytes()


def test_dali_refuses_data_without_files_and_leaves_nothing(train, tmp_path):
    pytest.importorskip("nvidia.dali", reason=NO_DALI)
    prepare_phantom(tmp_path / "phantom", 24, 0, workers=1)
    code, err = train("data.path=phantom", "train.batch_size=8", "feed=dali", "output_dir=run")
    assert code == 2 and "does not say which files its images came from" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("preset", "overrides", "absent"),
    [
        ("ablation/align_only", ["optim=adamw"], "loss_orthogonality"),
        ("ablation/orth_only", ["optim=adamw"], "loss_alignment"),
        ("recommended", [], None),
        ("paper", [], None),
        ("authors", [], None),
    ],
)
def test_every_preset_trains(train, prepared, tmp_path, preset, overrides, absent):
    code, err = train(
        f"data.path={prepared.path}", f"preset={preset}", "output_dir=run", "train.epochs=1",
        "train.batch_size=16", "model.arch=resnet18", *overrides, *QUICK,
    )  # fmt: skip
    assert code == 0, err
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert [name for name, value in last.items() if value is None and "loss" in name] == (
        [absent] if absent else []
    )
    assert ("assumed: " in err) == (preset in ("paper", "authors"))


def test_equal_weights_warn_that_alignment_is_drowned(train, prepared):
    _, err = train(
        f"data.path={prepared.path}", "preset=paper", "train.epochs=1", "train.batch_size=16",
        "model.arch=resnet18", *QUICK,
    )  # fmt: skip
    assert "times the alignment's, which drowns it" in err


def test_a_finished_run_says_so(train, prepared):
    command = (f"data.path={prepared.path}", "output_dir=run", *QUICK)
    train(*command)
    code, err = train(*command, "resume=auto")
    assert (code, "is finished" in err) == (0, True)


def test_a_used_folder_is_refused_and_overwritten_when_asked(train, prepared, tmp_path):
    command = (f"data.path={prepared.path}", "output_dir=run", *QUICK)
    train(*command)
    code, err = train(*command, "seed=1")
    assert code == 2 and "holds a run already" in err
    code, _ = train(*command, "seed=1", "overwrite=true")
    assert code == 0
    assert steps_of(tmp_path / "run") == [1, 5, 6]


def test_a_refused_overwrite_keeps_the_old_run(train, prepared, tmp_path):
    command = (f"data.path={prepared.path}", "output_dir=run", *QUICK)
    train(*command)
    before = (tmp_path / "run" / "encoder.safetensors").read_bytes()
    code, _ = train(*command, "overwrite=true", "train.batch_size=50")
    assert code == 2
    assert (tmp_path / "run" / "encoder.safetensors").read_bytes() == before


def test_a_finished_run_without_checkpoints_is_not_trained_again(train, prepared, tmp_path):
    command = (f"data.path={prepared.path}", "output_dir=run", *QUICK)
    train(*command)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    encoder = tmp_path / "run" / "encoder.safetensors"
    before = encoder.stat().st_mtime_ns
    code, err = train(*command, "resume=auto")
    assert (code, "is finished" in err) == (0, True)
    assert encoder.stat().st_mtime_ns == before


def test_resume_in_a_folder_that_is_no_run_is_refused(train, prepared, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "encoder.safetensors").touch()
    code, err = train(f"data.path={prepared.path}", "output_dir=run", "resume=auto", *QUICK)
    assert code == 2 and "no config.yaml" in err
    assert (tmp_path / "run" / "encoder.safetensors").exists()


def test_resume_from_an_older_checkpoint_drops_the_newer_ones(train, prepared, tmp_path):
    command = (f"data.path={prepared.path}", "output_dir=run", *QUICK, "checkpoint.every=2")
    train(*command, "checkpoint.keep=9")
    folder = tmp_path / "run" / "checkpoints"
    reference = (tmp_path / "run" / "encoder.safetensors").read_bytes()
    code, _ = train(*command, f"resume={folder / 'step_000000002.ckpt'}")
    assert code == 0
    assert (tmp_path / "run" / "encoder.safetensors").read_bytes() == reference
    assert steps_of(tmp_path / "run") == [1, 5, 6]
    assert list_checkpoints(folder)[0].name == "step_000000006.ckpt"


def test_resume_on_other_data_is_refused(train, prepared, tmp_path):
    command = ("output_dir=run", *QUICK, "data.size=40", "train.batch_size=8", "train.epochs=1")
    assert train(*command)[0] == 0
    checkpoint = tmp_path / "run" / "checkpoints" / "step_000000004.ckpt"
    state = read_checkpoint(checkpoint)
    state["data"] = {"images.u8": "other"}
    save_checkpoint(checkpoint.parent, 4, state, keep=1)
    (tmp_path / "run" / "model_card.md").unlink()
    code, err = train(*command, "resume=auto")
    assert code == 2 and "holds other data" in err


def test_more_studies_replace_generated_ones_when_asked(train, tmp_path):
    quick = (*QUICK, "train.batch_size=8", "train.epochs=1")
    code, err = train("output_dir=run", *quick, "data.size=40")
    assert code == 0, err
    code, err = train("output_dir=run", *quick, "data.size=60", "overwrite=true")
    assert code == 0, err
    assert len(open_prepared(tmp_path / "run" / "data")) == 60


def test_weights_that_are_not_numbers_are_never_kept(train, prepared, tmp_path, monkeypatch):
    def poison(self, *_, **__):
        self.param_groups[0]["params"][0].data.fill_(float("nan"))

    monkeypatch.setattr(torch.optim.AdamW, "step", poison)
    code, err = train(f"data.path={prepared.path}", "output_dir=run", *QUICK, "checkpoint.every=1")
    assert code == 3 and "state.encoder.layer1.0.conv1.weight became NaN" in err
    assert not list_checkpoints(tmp_path / "run" / "checkpoints")


def test_a_forced_backend_that_cannot_run_is_refused_before_the_data_is_read(train, monkeypatch):
    monkeypatch.setenv("MFLAG_BACKEND", "cuda")
    code, err = train("data.size=40")
    assert code == 2 and err.startswith("error: backend 'cuda' (MFLAG_BACKEND) cannot run here")


def test_resume_with_another_configuration_is_refused(train, prepared):
    command = (f"data.path={prepared.path}", "output_dir=run", *QUICK)
    train(*command)
    code, err = train(*command, "resume=auto", "optim.lr=0.5")
    assert code == 2 and "optim.lr was 0.001, is 0.5" in err


def test_non_finite_loss_is_exit_code_3(train, prepared):
    code, err = train(f"data.path={prepared.path}", "optim.lr=1e30", "train.epochs=4", *QUICK)
    assert code == 3
    assert err.splitlines()[-1].startswith("error: a loss became NaN or infinite")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["preset=smok"], "smoke"),
        (["data=mimic"], "phantom"),
        (["train.epoch=1"], "its keys: epochs, batch_size"),
        (["+train.epoch=1"], "'epoch'"),
        (["train.epochs=x"], "Integer"),
        (["train.epochs=0"], "train.epochs is 0; give 1 or more"),
        (["--epochs", "3"], "write key=value"),
        (["feed=tape"], "cache"),
        (["feed.name=tape"], "choose one of cache, dali, torch"),
        (["feed=dali"], "data=phantom makes none"),
        (["feed=dali", "feed.workers=0", "data.path=x"], "feed=dali decodes by 1 thread or more"),
        (["feed.root=images"], "only feed=dali reads original files"),
        (["data.path=missing"], "no folder"),
        (["data.size=10", "train.batch_size=16"], "data.size is 10"),
        (["model.arch=vgg"], "choose one of resnet18"),
        (["model.init=missing.safetensors"], "missing.safetensors is missing"),
        (["train.image_size=300"], "give 32 to 256"),
        (["train.micro_batch_size=5"], "give a divisor"),
        (["model.one_channel=grey"], "choose auto, true or false"),
        (["compute.cuda_graph=true"], "CUDA graphs need a GPU"),
        (
            ["compute.cuda_graph=true", "train.micro_batch_size=8"],
            "train.micro_batch_size is 8; set train.micro_batch_size=null",
        ),
        (["compute.device=cuda:77"], "give compute.device=cpu"),
        (["loss.orthogonality_weight=1"], "give one and set the other to null"),
        (["loss.orthogonality_share=null"], "are both null"),
        (["loss.alignment_weight=0"], "needs the alignment loss"),
        (["loss.norm=rows"], "rows"),
        (["optim.name=sgd"], "choose adamw or lars"),
        (["optim=lars", "optim.lars_preset=mine"], "mine"),
        (["optim.schedule=linear"], "linear"),
        (["optim.lr=-1"], "optim.lr is -1.0"),
        (["augment.scale_min=0"], "augment.scale_min is 0.0"),
        (["optim.warmup_epochs=inf"], "optim.warmup_epochs is inf"),
        (["optim.restart_epochs=-1"], "optim.restart_epochs is -1.0"),
        (["feed.resident=maybe"], "choose one of auto, true, false"),
        (["feed.reserve_gb=-1"], "feed.reserve_gb is -1.0"),
        (["feed.prefetch=0"], "feed.prefetch is 0"),
        (["feed.workers=-1"], "feed.workers is -1"),
        (["text.name=word2vec"], "choose one of lsa, minilm, cxr_bert_"),
        (["text.path=missing"], "missing"),
        (["resume=missing.ckpt"], "cannot be read"),
        (["output_dir=/proc/run"], "cannot write into /proc/run"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_exit_code_2_and_no_file(train, tmp_path, overrides, message):
    code, err = train(*overrides)
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("error: ") and message in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: (p / "prepared.json").write_text("{}"), "is damaged"),
        (lambda p: (p / "prepared.json").write_text(FORMAT_9), "has format 9"),
        (lambda p: (p / "images.u8").write_bytes(b"cut"), "was cut short"),
        (lambda p: (p / "images.u8").unlink(), "images.u8 is missing"),
        (lambda p: (p / "manifest.parquet").write_bytes(b"junk"), "was altered"),
    ],
)  # fmt: skip
def test_damaged_data_is_refused(train, prepared, tmp_path, damage, message):
    folder = tmp_path / "data"
    folder.mkdir()
    for file in prepared.path.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    damage(folder)
    code, err = train("data.path=data", "output_dir=run")
    assert code == 2 and message in err
    assert not (tmp_path / "run").exists()


def test_batch_larger_than_the_training_split_is_refused(train, prepared, tmp_path):
    code, err = train(f"data.path={prepared.path}", "train.batch_size=50", "output_dir=run")
    assert code == 2 and "the training split has 48 studies; give 48 or less" in err
    assert not (tmp_path / "run").exists()


def test_help_names_every_key_with_its_meaning(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", "--help", "preset=paper"])
    cli.run(main, "train", TrainConfig)
    shown = capsys.readouterr().out
    for part in ("preset=ablation/align_only|", "train.batch_size", "studies a step and process"):
        assert part in shown
    assert "loss.norm                        sample" in shown


def test_images_that_would_have_to_be_enlarged_are_refused(train, prepared, tmp_path):
    code, err = train(f"data.path={prepared.path}", "train.image_size=300", "output_dir=run")
    assert code == 2 and not (tmp_path / "run").exists()
    assert err == (
        f"error: train.image_size is 300, but {prepared.path} stores images of 256 x 256; prepare "
        "with stored_size=320, or give 256 or less\n"
    )


def test_crops_of_448_come_from_images_of_512(train, tmp_path, capsys):
    dataset = DatasetConfig(name="phantom", size=12, seed=0)
    prepare(PrepareConfig(dataset=dataset, out="large", workers=1, stored_size=512))
    code, err = train(
        "data.path=large", "output_dir=run", "train.image_size=448", "train.epochs=1",
        "train.batch_size=4", "compute.device=cpu", "log.tensorboard=false", "text.dim=4",
    )  # fmt: skip
    assert code == 0, err
    assert "image_size: 448" in (tmp_path / "run" / "config.yaml").read_text()


@pytest.mark.parametrize("resident", ["true", "false"])
def test_weights_do_not_depend_on_where_the_images_are_held(train, prepared, tmp_path, resident):
    common = (f"data.path={prepared.path}", *QUICK)
    code, err = train(*common, "output_dir=auto")
    assert code == 0 and "feed:" not in err
    code, err = train(*common, "output_dir=run", f"feed.resident={resident}")
    assert code == 0 and ("feed: 48 images" in err) is (resident == "true")
    weights = [(tmp_path / run / "encoder.safetensors").read_bytes() for run in ("auto", "run")]
    assert weights[0] == weights[1]


def test_a_folder_that_another_run_writes_to_is_refused(train, prepared, tmp_path):
    with FolderLock(tmp_path / "run", "mflag.train") as lock:
        lock.acquire()
        before = sorted(tmp_path.rglob("*"))
        code, err = train(f"data.path={prepared.path}", "output_dir=run", *QUICK)
        assert code == 2 and "run is in use by mflag.train, process " in err
        assert sorted(tmp_path.rglob("*")) == before
