"""For ``timm.create_model(X, num_classes=0)``, whose ResNets have torchvision's names."""

import importlib.util
from pathlib import Path

from mflag.exporting.proof import prove_torchvision, require_equal_features
from mflag.exporting.state_dict_file import export_state_dict, load_call, read_state_dict
from mflag.exporting.written import Written
from mflag.models.encoder_file import read_encoder_file


def export(encoder: Path, out: Path) -> Written:
    """Write the state dict, loaded strictly by timm itself where it is installed.

    See ``export_state_dict``. Without timm the proof is torchvision's network of the same names.
    """
    has_timm = importlib.util.find_spec("timm") is not None
    arch = export_state_dict(encoder, out, prove_torchvision, *([_prove_timm] if has_timm else []))
    place = f"timm's {arch}"
    if not has_timm:
        place = f"torchvision's {arch}, whose names are timm's (not installed)"
    return Written(
        f"loaded strictly into {place}; features equal to the encoder's",
        [
            f"import timm, {'safetensors.torch' if out.suffix == '.safetensors' else 'torch'}",
            f"model = timm.create_model({arch!r}, num_classes=0)",
            f"model.load_state_dict({load_call(out)})",
        ],
    )


def _prove_timm(source: Path, written: Path) -> None:
    import timm

    metadata, _ = read_encoder_file(source)
    network = timm.create_model(metadata["arch"], num_classes=0).eval()
    network.load_state_dict(read_state_dict(written), strict=True)
    require_equal_features(source, network)
