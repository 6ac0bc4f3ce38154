"""A checked copy of the encoder file, metadata included."""

from pathlib import Path

from mflag.exporting.proof import prove_torchvision
from mflag.exporting.state_dict_file import check_suffix, published_after_proof
from mflag.exporting.written import Written
from mflag.models.encoder_file import read_encoder_file
from mflag.runtime.atomic_write import atomic_write


def export(encoder: Path, out: Path) -> Written:
    """Copy the bytes, and load the copy strictly into torchvision's network.

    Args:
        encoder: an ``encoder.safetensors``.
        out: ``.safetensors``.

    Raises:
        InputError: the encoder cannot be read, or ``out`` cannot be written.
    """
    check_suffix(out, (".safetensors",))
    metadata, _ = read_encoder_file(encoder)
    with published_after_proof(out) as candidate:
        with atomic_write(candidate) as file:
            file.write(encoder.read_bytes())
        prove_torchvision(encoder, candidate)
    return Written(
        f"same bytes; loaded strictly into torchvision.models.{metadata['arch']}, features equal",
        [
            "from mflag.models import load_encoder",
            f"model = load_encoder({str(out)!r})",
        ],
    )
