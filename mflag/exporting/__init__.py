"""Encoders for other libraries: each writer checks itself by that library's strict load."""

from mflag.exporting import (
    to_onnx,
    to_safetensors,
    to_smp,
    to_timm,
    to_torchvision,
    to_ultralytics,
)
from mflag.exporting.written import Format, Written

FORMATS = {
    "torchvision": Format(
        to_torchvision.export,
        (".pth", ".pt", ".safetensors"),
        "torchvision.models.X(), fc = Identity()",
    ),
    "timm": Format(
        to_timm.export,
        (".safetensors", ".pth", ".pt"),
        "timm.create_model(X, num_classes=0)",
    ),
    "smp": Format(
        to_smp.export,
        (".pth", ".pt", ".safetensors"),
        "encoder of segmentation_models_pytorch: smp.Unet(X, encoder_weights=None).encoder",
    ),
    "ultralytics": Format(
        to_ultralytics.export,
        (".pt", ".safetensors"),
        "backbone of ultralytics.YOLO (AGPL-3.0), with the YAML of a detector",
        (to_ultralytics.COMPANION,),
    ),
    "onnx": Format(
        to_onnx.export,
        (".onnx",),
        "ONNX runtimes: image (N, 3, H, W) to features (N, D); extra onnx",
    ),
    "safetensors": Format(
        to_safetensors.export,
        (".safetensors",),
        "mflag.models.load_encoder, a checked copy",
    ),
}

__all__ = ["FORMATS", "Format", "Written"]
