"""One module per op: schema, fake, autograd, backend choice."""

from mflag.ops.alignment import alignment_loss
from mflag.ops.augment import augment_images
from mflag.ops.barlow_twins import barlow_twins_loss
from mflag.ops.lars import lars_step_
from mflag.ops.orthogonality import orthogonality_loss

__all__ = [
    "alignment_loss",
    "augment_images",
    "barlow_twins_loss",
    "lars_step_",
    "orthogonality_loss",
]
