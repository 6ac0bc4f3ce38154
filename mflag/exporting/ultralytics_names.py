"""A torchvision ResNet as the first two layers of an ultralytics model, features unchanged."""

from typing import Any

import torch
from torch import Tensor

from mflag.exporting.proof import normalisation

STEM = ("conv1", "bn1", "relu", "maxpool")
STAGES = ("layer1", "layer2", "layer3", "layer4")
TORCHVISION_EPS = 1e-5
ULTRALYTICS_EPS = 1e-3  # every BatchNorm2d of an ultralytics model gets it
CHANNELS = {  # of layer2, layer3, layer4: strides 8, 16, 32
    "resnet18": (128, 256, 512),
    "resnet34": (128, 256, 512),
    "resnet50": (512, 1024, 2048),
}


def to_ultralytics(tensors: dict[str, Tensor], metadata: dict[str, str]) -> dict[str, Tensor]:
    """Return the state of ultralytics' layers 0 (normalisation) and 1 (``TorchVision``).

    Ultralytics gives images of 0..1, so layer 0 is a 1 × 1 convolution that normalises them. It
    sets eps = 1e-3 in every batch norm, so each weight γ becomes γ √((σ² + 1e-3) / (σ² + 1e-5)):
    the same function in eval mode.

    Args:
        tensors: by torchvision's names, float32.
        metadata: of the encoder: mean and std.
    """
    mean, std = (torch.tensor(v, dtype=torch.float64) for v in normalisation(metadata))
    state = {
        "0.weight": torch.diag(1 / std).view(3, 3, 1, 1).float(),
        "0.bias": (-mean / std).float(),
    }
    for name, value in tensors.items():
        variance = tensors.get(name.removesuffix("weight") + "running_var")
        if name.endswith(".weight") and variance is not None:
            ratio = (variance.double() + ULTRALYTICS_EPS) / (variance.double() + TORCHVISION_EPS)
            value = (value.double() * ratio.sqrt()).float()
        child, _, rest = name.partition(".")
        state[f"1.m.{(*STEM, *STAGES).index(child)}.{rest}"] = value
    return state


def model_yaml(arch: str) -> dict[str, Any]:
    """An ultralytics model: the encoder, strides 8, 16 and 32 of it, a YOLOv3 neck and head.

    Args:
        arch: a key of ``CHANNELS``.
    """
    c3, c4, c5 = CHANNELS[arch]
    taps = [len(STEM) + stage for stage in (2, 3, 4)]  # with split, 0 is the input itself
    return {
        "nc": 1,
        "backbone": [
            [-1, 1, "nn.Conv2d", [3, 3, 1]],
            [-1, 1, "TorchVision", [c5, arch, None, True, 2, True]],
            [1, 1, "Index", [c3, taps[0]]],
            [1, 1, "Index", [c4, taps[1]]],
            [1, 1, "Index", [c5, taps[2]]],
        ],
        "head": [
            [4, 1, "Conv", [512, 1, 1]],
            [-1, 1, "Conv", [1024, 3, 1]],
            [-1, 1, "Conv", [512, 1, 1]],
            [-1, 1, "Conv", [1024, 3, 1]],
            [-2, 1, "Conv", [256, 1, 1]],
            [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
            [[-1, 3], 1, "Concat", [1]],
            [-1, 1, "Conv", [256, 1, 1]],
            [-1, 1, "Conv", [512, 3, 1]],
            [-2, 1, "Conv", [128, 1, 1]],
            [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
            [[-1, 2], 1, "Concat", [1]],
            [-1, 1, "Conv", [128, 1, 1]],
            [-1, 1, "Conv", [256, 3, 1]],
            [[18, 13, 8], 1, "Detect", ["nc"]],
        ],
    }
