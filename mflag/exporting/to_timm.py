"""For ``timm.create_model(X, num_classes=0)``, whose ResNets have torchvision's names."""

import importlib.util
from pathlib import Path

from mflag.exporting.state_dict_file import export_state_dict, load_call, read_state_dict
from mflag.exporting.written import Written


def export(encoder: Path, out: Path) -> Written:
    """Write the state dict, loaded strictly by timm itself where it is installed.

    See ``export_state_dict``. Without timm the proof is torchvision's network of the same names.
    """
    arch = export_state_dict(encoder, out)
    return Written(
        f"{_proof(arch, out)}; features equal to the encoder's",
        [
            f"import timm, {'safetensors.torch' if out.suffix == '.safetensors' else 'torch'}",
            f"model = timm.create_model({arch!r}, num_classes=0)",
            f"model.load_state_dict({load_call(out)})",
        ],
    )


def _proof(arch: str, out: Path) -> str:
    if importlib.util.find_spec("timm") is None:
        return f"loaded strictly into torchvision's {arch}, whose names are timm's (not installed)"
    import timm

    timm.create_model(arch, num_classes=0).load_state_dict(read_state_dict(out), strict=True)
    return f"loaded strictly into timm's {arch}"
