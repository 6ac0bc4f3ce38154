"""Image encoders, projectors and frozen text encoders."""

from mflag.models.encoder import build_encoder
from mflag.models.load import load_encoder

__all__ = ["build_encoder", "load_encoder"]
