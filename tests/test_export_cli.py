"""``python -m mflag.export`` as people call it."""

import sys

import pytest

from mflag import cli
from mflag.config.export import ExportConfig
from mflag.export import main
from mflag.exporting import FORMATS
from mflag.models import build_encoder
from mflag.models.encoder_file import save_encoder
from mflag.runtime.atomic_write import file_sha256


@pytest.fixture
def export(tmp_path, monkeypatch, capsys):
    """Call the program in an empty folder; give exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["mflag.export", *arguments])
        code: int | str | None = 0
        try:
            cli.run(main, "export", ExportConfig)
        except SystemExit as exit_:
            code = exit_.code
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def encoder(tmp_path):
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, build_encoder("resnet18"), "resnet18", 32)
    return path


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["format=torchvision"], "encoder.torchvision.pth"),
        (["format=timm"], "encoder.timm.safetensors"),
        (["format=smp"], "encoder.smp.pth"),
        (["format=ultralytics"], "encoder.ultralytics.pt"),
        pytest.param(["format=onnx"], "encoder.onnx", marks=pytest.mark.slow),
        (["format=safetensors"], "encoder.safetensors.safetensors"),
        (["format=torchvision", "out=deep/er/x.safetensors"], "deep/er/x.safetensors"),
    ],
)
def test_export_writes_the_file_and_says_how_to_load_it(export, encoder, tmp_path, arguments, file):
    code, out, _ = export(f"encoder={encoder}", *arguments)
    assert code == 0
    assert (tmp_path / file).is_file()
    assert "equal" in out.splitlines()[0]
    assert any("load" in line or "InferenceSession" in line for line in out.splitlines()[1:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "add encoder=FILE"),
        (["encoder=missing.safetensors"], "is missing"),
        (["encoder=junk.safetensors"], "is no safetensors file"),
        (["encoder=encoder.safetensors", "format=keras"], "choose one of torchvision, timm, smp, "),
        (["encoder=encoder.safetensors", "out=x.bin"], "let it end in"),
        (["encoder=encoder.safetensors", "format=safetensors", "out=x.pth"], "let it end in"),
        (["encoder=encoder.safetensors", "format=onnx", "out=x.pth"], "let it end in .onnx"),
        (["encoder=encoder.safetensors", "format=ultralytics", "out=x.pth"], "let it end in .pt"),
        (["encoder=encoder.safetensors", "format=ultralytics", "out=held.pt"], "held.yaml exists"),
        (["encoder=encoder.safetensors", "out=encoder.safetensors"], "is the encoder itself"),
        (["encoder=encoder.safetensors", "out=junk.safetensors"], "add overwrite=true"),
        (["encoder=encoder.safetensors", "out=folder"], "which is a folder"),
        (["encoder=encoder.safetensors", "out=junk.safetensors/x.pth"], "cannot write"),
    ],
    ids=lambda value: value if isinstance(value, str) else "_".join(value) or "nothing",
)
def test_bad_input_is_one_error_line_and_leaves_nothing(
    export, encoder, tmp_path, arguments, message
):
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    (tmp_path / "held.yaml").write_bytes(b"mine")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    code, _, err = export(*arguments)
    assert code == 2
    assert err.startswith("error: ") and message in err and err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_overwrite_replaces_the_file(export, encoder, tmp_path):
    (tmp_path / "x.pth").write_bytes(b"old")
    code, _, _ = export(f"encoder={encoder}", "out=x.pth", "overwrite=true")
    assert code == 0
    assert (tmp_path / "x.pth").read_bytes() != b"old"


def test_help_lists_every_format_with_its_suffixes_and_purpose(export):
    _, out, _ = export("--help")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for name, chosen in FORMATS.items():
        assert " ".join((name, *chosen.suffixes, chosen.purpose)) in lines


def test_the_encoders_card_goes_with_the_file_and_names_both_hashes(export, encoder, tmp_path):
    (tmp_path / "model_card.md").write_text(f"# mine\n\nsha256 {file_sha256(encoder)}\n")
    code, out, _ = export(f"encoder={encoder}", "out=away/x.pth")
    assert code == 0
    card = (tmp_path / "away" / "x.pth.model_card.md").read_text()
    assert card.startswith("# mine\n") and "## This file" in card
    assert file_sha256(encoder) in card.split("## This file")[1]
    assert file_sha256(tmp_path / "away" / "x.pth") in card
    assert str(tmp_path) not in card
    assert "x.pth.model_card.md" in out.splitlines()[-1]


def test_the_card_of_other_weights_does_not_go_with_the_file(export, encoder, tmp_path):
    (tmp_path / "model_card.md").write_text("# another encoder\n")
    code, out, _ = export(f"encoder={encoder}", "out=away/x.pth")
    assert code == 0
    assert [path.name for path in (tmp_path / "away").iterdir()] == ["x.pth"]
    assert "model_card.md beside the encoder is of other weights" in out


@pytest.mark.parametrize("card", ["", "1"])
def test_a_card_that_is_there_is_not_replaced_without_being_asked(export, encoder, tmp_path, card):
    (tmp_path / "model_card.md").write_text(file_sha256(encoder) * len(card))
    (tmp_path / "x.pth.model_card.md").write_text("mine")
    code, _, err = export(f"encoder={encoder}", "out=x.pth")
    assert (code == 2) == bool(card)
    assert ("add overwrite=true" in err) == bool(card)
    assert (tmp_path / "x.pth.model_card.md").read_text() == "mine"
