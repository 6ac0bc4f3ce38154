"""For ultralytics' ``YOLO``: a model YAML, and the weights of its first two layers."""

import importlib.util
import json
from pathlib import Path

import torchvision
from torch import Tensor, nn

from mflag.exporting.proof import pooled, require_equal_features
from mflag.exporting.state_dict_file import (
    check_suffix,
    load_call,
    published_after_proof,
    read_state_dict,
    write_state_dict,
)
from mflag.exporting.ultralytics_names import (
    STAGES,
    STEM,
    ULTRALYTICS_EPS,
    model_yaml,
    to_ultralytics,
)
from mflag.exporting.written import Written
from mflag.models.encoder_file import read_encoder_file
from mflag.models.load import load_encoder
from mflag.models.ultralytics_parts import ultralytics_parts
from mflag.runtime.atomic_write import write_text

COMPANION = ".yaml"
_HEADER = """\
# {arch} encoder of mflag with a YOLOv3 neck and head, for ultralytics.YOLO (AGPL-3.0).
# Layer 0 normalises images of 0..1, layer 1 is the encoder: freeze=2 keeps both as they are.
# The weights of these two layers are in {weights}.
# nc is the number of classes."""


def export(encoder: Path, out: Path) -> Written:
    """Write weights and, beside them, the YAML of a detector that takes them.

    Args:
        encoder: an ``encoder.safetensors``.
        out: ``.pt`` (plain tensors) or ``.safetensors``; the YAML takes the same name.

    Raises:
        InputError: the encoder cannot be read, or ``out`` cannot be written.
    """
    check_suffix(out, (".pt", ".safetensors"))
    metadata, tensors = read_encoder_file(encoder)
    load_encoder(encoder)
    arch, yaml_file = metadata["arch"], out.with_suffix(COMPANION)
    has_ultralytics = importlib.util.find_spec("ultralytics") is not None
    with published_after_proof(out, yaml_file) as candidate:
        write_state_dict(to_ultralytics(tensors, metadata), candidate, metadata)
        write_text(candidate.with_suffix(COMPANION), _yaml_text(arch, out.name))
        layers = (
            _ultralytics_layers(candidate.with_suffix(COMPANION))
            if has_ultralytics
            else _layers_of_the_same_names(arch)
        )
        _prove(encoder, layers, read_state_dict(candidate))
    place = "ultralytics' own first two layers"
    if not has_ultralytics:
        place = "torchvision's layers under ultralytics' names (ultralytics is not installed)"
    return Written(
        f"with {yaml_file.name}, loaded strictly into {place}; the encoder's features are equal "
        "to those of its deepest layer, averaged",
        [
            f"import {'safetensors.torch' if out.suffix == '.safetensors' else 'torch'}",
            "from ultralytics import YOLO",
            f"model = YOLO({str(yaml_file)!r})",
            f"model.model.model[:2].load_state_dict({load_call(out)})",
            "model.load(model.model)  # without it train() starts from new weights",
            "# model.train(data=..., freeze=2) keeps the encoder frozen",
        ],
    )


def _yaml_text(arch: str, weights: str) -> str:
    lines = [_HEADER.format(arch=arch, weights=weights)]
    for name, value in model_yaml(arch).items():
        if isinstance(value, list):
            lines += [f"{name}:", *(f"  - {json.dumps(row)}" for row in value)]
        else:
            lines.append(f"{name}: {value}")
    return "\n".join(lines) + "\n"


def _prove(encoder: Path, layers: nn.Sequential, state: dict[str, Tensor]) -> None:
    layers.load_state_dict(state, strict=True)
    layers.eval()
    require_equal_features(encoder, lambda images: pooled(layers(images)[-1]), normalises=True)


class _TorchVision(nn.Module):
    """What ultralytics' ``TorchVision`` module with split=True is: same names, same outputs."""

    def __init__(self, arch: str) -> None:
        super().__init__()
        network = getattr(torchvision.models, arch)()
        self.m = nn.Sequential(*(getattr(network, name) for name in (*STEM, *STAGES)))

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = [x]
        for layer in self.m:
            outputs.append(layer(outputs[-1]))
        return outputs


def _layers_of_the_same_names(arch: str) -> nn.Sequential:
    layers = nn.Sequential(nn.Conv2d(3, 3, 1), _TorchVision(arch))
    for module in layers.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = ULTRALYTICS_EPS
    return layers


def _ultralytics_layers(yaml_file: Path) -> nn.Sequential:
    """The first two layers of the model that ultralytics builds from the YAML."""
    model = ultralytics_parts().DetectionModel(str(yaml_file), verbose=False).model
    return model[:2]  # type: ignore[no-any-return]
