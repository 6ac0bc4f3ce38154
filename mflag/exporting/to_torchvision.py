"""For ``torchvision.models.X()`` with ``fc = Identity()``."""

from pathlib import Path

from mflag.exporting.proof import prove_torchvision
from mflag.exporting.state_dict_file import export_state_dict, load_call
from mflag.exporting.written import Written


def export(encoder: Path, out: Path) -> Written:
    """Write the state dict, proved by torchvision's strict load. See ``export_state_dict``."""
    arch = export_state_dict(encoder, out, prove_torchvision)
    return Written(
        f"loaded strictly into torchvision.models.{arch}, features equal",
        [
            f"import torch, torchvision{', safetensors.torch' * (out.suffix == '.safetensors')}",
            f"model = torchvision.models.{arch}(); model.fc = torch.nn.Identity()",
            f"model.load_state_dict({load_call(out)})",
        ],
    )
