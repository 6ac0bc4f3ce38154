"""For the encoders of segmentation_models_pytorch, which keep torchvision's names."""

import importlib.util
from pathlib import Path

from mflag.exporting.proof import pooled, prove_torchvision, require_equal_features
from mflag.exporting.state_dict_file import export_state_dict, load_call, read_state_dict
from mflag.exporting.written import Written
from mflag.models.encoder_file import read_encoder_file


def export(encoder: Path, out: Path) -> Written:
    """Write the state dict, loaded strictly by smp itself where it is installed.

    See ``export_state_dict``. The deepest of smp's feature maps, averaged over the image, are the
    encoder's features. Without smp the proof is torchvision's network of the same names.
    """
    has_smp = importlib.util.find_spec("segmentation_models_pytorch") is not None
    arch = export_state_dict(encoder, out, prove_torchvision, *([_prove_smp] if has_smp else []))
    place = f"smp.encoders.get_encoder({arch!r})"
    if not has_smp:
        place = f"torchvision's {arch}, whose names are smp's (not installed)"
    return Written(
        f"loaded strictly into {place}; its deepest features, averaged, equal to the encoder's",
        [
            "import segmentation_models_pytorch as smp, "
            + ("safetensors.torch" if out.suffix == ".safetensors" else "torch"),
            f"model = smp.Unet({arch!r}, encoder_weights=None)",
            f"model.encoder.load_state_dict({load_call(out)})",
        ],
    )


def _prove_smp(source: Path, written: Path) -> None:
    import segmentation_models_pytorch as smp

    metadata, _ = read_encoder_file(source)
    network = smp.encoders.get_encoder(metadata["arch"], weights=None).eval()
    # smp drops fc.* first; the file has none, so all of it has to fit.
    network.load_state_dict(read_state_dict(written), strict=True)
    require_equal_features(source, lambda images: pooled(network(images)[-1]))
