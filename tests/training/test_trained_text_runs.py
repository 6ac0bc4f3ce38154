"""Runs with text layers in training, by the command line of the program."""

import json
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mflag import cli
from mflag.config.train import TrainConfig
from mflag.models.text_encoder import load_text_encoder
from mflag.runtime.checkpoint import list_checkpoints, read_checkpoint
from mflag.train import main
from tests.models.tiny_bert import write_bert

QUICK = (
    "train.image_size=32", "compute.device=cpu", "compute.precision=fp32", "log.tensorboard=false",
    "train.epochs=2", "train.batch_size=16", "model.arch=resnet18", "text.max_length=32",
    "model.projector_hidden_dim=32",
)  # fmt: skip


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def train(monkeypatch, tmp_path, capsys, prepared, bert):
    """Run the program with the tiny BERT; returns (exit code, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides):
        command = ["train", f"data.path={prepared.path}", f"text.path={bert}", *QUICK, *overrides]
        monkeypatch.setattr(sys, "argv", command)
        code = 0
        try:
            cli.run(main, "train", TrainConfig)
        except SystemExit as left:
            code = int(left.code or 0)
        return code, capsys.readouterr().err

    return run


def test_the_last_layer_trains_and_is_left_as_a_plain_bert(train, bert, tmp_path):
    code, err = train("preset=ablation/unfreeze_1", "output_dir=run")
    assert code == 0, err
    assert "assumed: trained text layers take the vision learning rate" in err
    assert (
        "tiny, the last 1 layers trained: 48 training texts, 12 unique, dim 32, 0.0% trunc" in err
    )
    run = tmp_path / "run"
    assert not (run / "text_embeddings.safetensors").exists()
    after, before = (
        load_file(run / "text_encoder.safetensors"),
        load_file(bert / "model.safetensors"),
    )
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert {name.split(".")[2] for name in changed} == {"1"} and len(changed) == 16
    card = (run / "model_card.md").read_text()
    assert (
        "text: 8,544 of 19,392 parameters trained" in card
        and "tiny, the last 1 layers trained" in card
    )
    with safe_open(run / "text_encoder.safetensors", "pt") as file:
        metadata = file.metadata()
    assert (metadata["base"], metadata["pooling"], metadata["unfreeze_last"]) == (
        "tiny",
        "mean",
        "1",
    )
    assert len(json.loads(metadata["center"])) == 32

    folder = write_bert(tmp_path / "as_folder")
    (run / "text_encoder.safetensors").replace(folder / "model.safetensors")
    model = load_text_encoder(folder, "mean", 32).model
    assert all(torch.equal(value, after[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "overrides",
    [(), ("train.micro_batch_size=4", "text.keep_lower=true")],
    ids=["whole", "micro-batches-kept-lower-layers"],
)
def test_a_resumed_run_ends_in_the_bytes_of_the_undisturbed_one(train, tmp_path, overrides):
    options = ("preset=ablation/unfreeze_2", "checkpoint.every=2", "checkpoint.keep=9", *overrides)
    assert train(*options, "output_dir=run")[0] == 0
    names = ("encoder.safetensors", "projector.safetensors", "text_encoder.safetensors")
    expected = [(tmp_path / "run" / name).read_bytes() for name in names]
    first = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    layers = read_checkpoint(first)["state"]["text"]
    assert {name.split(".")[2] for name in layers if name != "center"} == {"0", "1"}
    (tmp_path / "run" / "model_card.md").unlink()
    code, err = train(*options, "output_dir=run", f"resume={first}")
    assert code == 0, err
    assert [(tmp_path / "run" / name).read_bytes() for name in names] == expected


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["text.path=null", "text.unfreeze_last=1"], "text=lsa has no layers; add text=minilm"),
        (["text.unfreeze_last=3"], "text.unfreeze_last is 3, but tiny has 2 layers; give 0 to 2"),
        (["text.unfreeze_last=-1"], "text.unfreeze_last is -1; give 0 or more"),
        (["preset=ablation/orth_only", "text.unfreeze_last=1"], "no text is read"),
        (["model.text_projector=big"], "choose one of none, linear, mlp, mlp_bn"),
        (["model.projector_dim=8"], "without model.text_projector the images meet"),
        (["model.projector_dim=0"], "model.projector_dim is 0"),
    ],
)
def test_what_cannot_train_is_refused_in_one_line(train, overrides, message):
    code, err = train(*overrides)
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("error: ") and message in line


@pytest.mark.parametrize("last", [0, 1])
def test_a_text_projection_trains_on_frozen_and_on_trained_text(train, tmp_path, last):
    code, err = train(
        "preset=authors", f"text.unfreeze_last={last}", "model.projector_hidden_dim=24",
        "model.projector_dim=12", "output_dir=run",
    )  # fmt: skip
    assert code == 0, err
    weights = load_file(tmp_path / "run" / "text_projector.safetensors")
    assert (weights["0.weight"].shape, weights["3.weight"].shape) == ((24, 32), (12, 24))
    assert float(weights["1.running_var"].sub(1).abs().max()) > 0
    assert "text projector 1,140" in (tmp_path / "run" / "model_card.md").read_text()
