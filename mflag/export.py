"""Write an encoder for another library: ``python -m mflag.export encoder=FILE format=timm``."""

from pathlib import Path

from mflag import cli
from mflag.config.export import ExportConfig
from mflag.errors import InputError
from mflag.exporting import FORMATS
from mflag.exporting.card import card_path, find_card, write_card


def main(config: ExportConfig) -> None:
    """Export, prove that the file loads, and say how to load it."""
    if config.format not in FORMATS:
        raise InputError(f"format is {config.format!r}; choose one of {', '.join(FORMATS)}")
    if config.encoder is None:
        raise InputError(
            "no encoder is given; add encoder=FILE (the encoder.safetensors of mflag.train)"
        )
    encoder = Path(config.encoder)
    chosen = FORMATS[config.format]
    suffix = chosen.suffixes[0]
    name = "encoder.onnx" if suffix == ".onnx" else f"encoder.{config.format}{suffix}"
    out = Path(config.out) if config.out else encoder.parent / name
    card = find_card(encoder)
    more = [out.with_suffix(suffix) for suffix in chosen.companions]
    for path in (out, *more, *([card_path(out)] if card else [])):
        _check_out(path, encoder, config.overwrite)
    written = chosen.export(encoder, out)
    print(f"{out}: {written.checked}")
    for line in written.usage:
        print("   ", line)
    if card:
        print(f"card: {write_card(card, encoder, out, config.format, written.checked)}")
    elif (encoder.parent / "model_card.md").is_file():
        print("no card: the model_card.md beside the encoder is of other weights")


def _check_out(out: Path, encoder: Path, overwrite: bool) -> None:
    if out.is_dir():
        raise InputError(f"out is {str(out)!r}, which is a folder; give a file")
    if out.exists() and encoder.exists() and out.samefile(encoder):
        raise InputError(f"out is the encoder itself, {str(out)!r}; give another file")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists; add overwrite=true to replace it, or give another out=")


if __name__ == "__main__":
    cli.run(main, "export", ExportConfig)
