"""Losses: thin modules around the ops, and the balance between two of them."""

from mflag.losses.alignment import AlignmentLoss
from mflag.losses.barlow_twins import BarlowTwinsLoss
from mflag.losses.gradient_share import GradientShare
from mflag.losses.mflag import MFLAGLoss
from mflag.losses.orthogonality import OrthogonalityLoss
from mflag.losses.vicreg import VICRegLoss

__all__ = [
    "AlignmentLoss",
    "BarlowTwinsLoss",
    "GradientShare",
    "MFLAGLoss",
    "OrthogonalityLoss",
    "VICRegLoss",
]
