"""What ``python -m mflag.evaluate`` refuses, before it computes or writes anything."""

import hashlib
import json

import pandas as pd
import pytest

from tests.evaluate_program import call_program, write_encoder, write_prepared

TUNE = ["encoder=ENCODER", "task.protocol=finetune"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder"))


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
        (["encoder=ENCODER", "task=segmentation", "task.label_policy=ones"], "does not read"),
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
