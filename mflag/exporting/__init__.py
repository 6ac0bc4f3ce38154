"""Encoders for other libraries: each writer checks itself by that library's strict load."""

from collections.abc import Callable
from pathlib import Path

from mflag.exporting import to_safetensors, to_timm, to_torchvision
from mflag.exporting.written import Written

FORMATS: dict[str, Callable[[Path, Path], Written]] = {
    "torchvision": to_torchvision.export,
    "timm": to_timm.export,
    "safetensors": to_safetensors.export,
}
SUFFIXES = {"torchvision": ".pth", "timm": ".safetensors", "safetensors": ".safetensors"}

__all__ = ["FORMATS", "SUFFIXES", "Written"]
