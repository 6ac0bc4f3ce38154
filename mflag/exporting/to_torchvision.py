"""For ``torchvision.models.X()`` with ``fc = Identity()``."""

from pathlib import Path

from mflag.exporting.state_dict_file import (
    check_suffix,
    prove_torchvision,
    published_after_proof,
    write_state_dict,
)
from mflag.exporting.written import Written
from mflag.models.encoder_file import read_encoder_file


def export(encoder: Path, out: Path) -> Written:
    """Write the state dict, and load it strictly into torchvision's network.

    Args:
        encoder: an ``encoder.safetensors``.
        out: ``.pth``, ``.pt`` or ``.safetensors``.

    Raises:
        InputError: the encoder cannot be read, or ``out`` cannot be written.
    """
    check_suffix(out)
    metadata, tensors = read_encoder_file(encoder)
    with published_after_proof(out) as candidate:
        write_state_dict(tensors, candidate, metadata)
        prove_torchvision(encoder, candidate)
    return Written(
        f"loaded strictly into torchvision.models.{metadata['arch']}, features equal",
        [
            f"import torch, torchvision{', safetensors.torch' * (out.suffix == '.safetensors')}",
            f"model = torchvision.models.{metadata['arch']}(); model.fc = torch.nn.Identity()",
            f"model.load_state_dict({load_call(out)})",
        ],
    )


def load_call(path: Path) -> str:
    """The expression that reads the file."""
    if path.suffix == ".safetensors":
        return f"safetensors.torch.load_file({str(path)!r})"
    return f"torch.load({str(path)!r}, weights_only=True)"
