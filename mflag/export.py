"""Write an encoder for another library: ``python -m mflag.export encoder=FILE format=timm``."""

from pathlib import Path

from mflag import cli
from mflag.config.export import ExportConfig
from mflag.errors import InputError
from mflag.exporting import FORMATS, SUFFIXES


def main(config: ExportConfig) -> None:
    """Export, prove that the file loads, and say how to load it."""
    if config.format not in FORMATS:
        raise InputError(f"format is {config.format!r}; choose one of {', '.join(FORMATS)}")
    if config.encoder is None:
        raise InputError(
            "no encoder is given; add encoder=FILE (the encoder.safetensors of mflag.train)"
        )
    encoder = Path(config.encoder)
    name = f"encoder.{config.format}{SUFFIXES[config.format]}"
    out = Path(config.out) if config.out else encoder.parent / name
    if out.is_dir():
        raise InputError(f"out is {str(out)!r}, which is a folder; give a file")
    if out.exists() and encoder.exists() and out.samefile(encoder):
        raise InputError(f"out is the encoder itself, {str(out)!r}; give another file")
    if out.exists() and not config.overwrite:
        raise InputError(f"{out} exists; add overwrite=true to replace it, or give another out=")
    written = FORMATS[config.format](encoder, out)
    print(f"{out}: {written.checked}")
    for line in written.usage:
        print("   ", line)


if __name__ == "__main__":
    cli.run(main, "export", ExportConfig)
