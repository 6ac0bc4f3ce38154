"""For ``timm.create_model(X, num_classes=0)``, whose ResNets have torchvision's names."""

from pathlib import Path

from mflag.exporting.state_dict_file import export_state_dict, load_call
from mflag.exporting.written import Written


def export(encoder: Path, out: Path) -> Written:
    """Write the state dict; timm itself is not needed. See ``export_state_dict``."""
    arch = export_state_dict(encoder, out)
    return Written(
        f"loaded strictly into torchvision's {arch} (timm's names), features equal",
        [
            f"import timm, {'safetensors.torch' if out.suffix == '.safetensors' else 'torch'}",
            f"model = timm.create_model({arch!r}, num_classes=0)",
            f"model.load_state_dict({load_call(out)})",
        ],
    )
