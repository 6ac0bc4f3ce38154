"""For ``timm.create_model(X, num_classes=0)``, whose ResNets have torchvision's names."""

from pathlib import Path

from mflag.exporting.state_dict_file import (
    check_suffix,
    prove_torchvision,
    published_after_proof,
    write_state_dict,
)
from mflag.exporting.to_torchvision import load_call
from mflag.exporting.written import Written
from mflag.models.encoder_file import read_encoder_file


def export(encoder: Path, out: Path) -> Written:
    """Write the state dict; timm itself is not needed.

    Args:
        encoder: an ``encoder.safetensors``.
        out: ``.safetensors``, ``.pth`` or ``.pt``.

    Raises:
        InputError: the encoder cannot be read, or ``out`` cannot be written.
    """
    check_suffix(out)
    metadata, tensors = read_encoder_file(encoder)
    with published_after_proof(out) as candidate:
        write_state_dict(tensors, candidate, metadata)
        prove_torchvision(encoder, candidate)
    return Written(
        f"loaded strictly into torchvision's {metadata['arch']} (timm's names), features equal",
        [
            f"import timm, {'safetensors.torch' if out.suffix == '.safetensors' else 'torch'}",
            f"model = timm.create_model({metadata['arch']!r}, num_classes=0)",
            f"model.load_state_dict({load_call(out)})",
        ],
    )
