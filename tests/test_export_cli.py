"""``python -m mflag.export`` as people call it."""

import sys

import pytest

from mflag import cli
from mflag.config.export import ExportConfig
from mflag.export import main
from mflag.models import build_encoder
from mflag.models.encoder_file import save_encoder


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
        (["format=safetensors"], "encoder.safetensors.safetensors"),
        (["format=torchvision", "out=deep/er/x.safetensors"], "deep/er/x.safetensors"),
    ],
)
def test_export_writes_the_file_and_says_how_to_load_it(export, encoder, tmp_path, arguments, file):
    code, out, _ = export(f"encoder={encoder}", *arguments)
    assert code == 0
    assert (tmp_path / file).is_file()
    assert "features equal" in out
    assert "load" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "add encoder=FILE"),
        (["encoder=missing.safetensors"], "is missing"),
        (["encoder=junk.safetensors"], "is no safetensors file"),
        (["encoder=encoder.safetensors", "format=onnx"], "choose one of torchvision, timm, safe"),
        (["encoder=encoder.safetensors", "out=x.bin"], "let it end in"),
        (["encoder=encoder.safetensors", "format=safetensors", "out=x.pth"], "let it end in"),
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
