"""A U-Net of segmentation_models_pytorch around one of our encoders, which stays as it is."""

from typing import Any

import torch
from torch import Tensor, nn

from mflag.downstream.encoders import NamedEncoder
from mflag.downstream.training import Compute
from mflag.errors import InputError
from mflag.models.encoder import load_strictly

# Each of five levels halves the image.
STRIDE = 32


def require_smp() -> Any:
    """Import segmentation_models_pytorch.

    Raises:
        InputError: it is not installed.
    """
    try:
        import segmentation_models_pytorch
    except ImportError as error:
        raise InputError(
            "task=segmentation needs segmentation_models_pytorch, which is not installed; "
            'pip install "mflag[segmentation]"'
        ) from error
    return segmentation_models_pytorch


class FrozenUnet(nn.Module):
    """``smp.Unet``: encoder without gradient, decoder from scratch.

    Attributes:
        unet: the network of segmentation_models_pytorch.
        updates_batchnorm: whether the encoder's running statistics follow the training images, as
            in MGCA's code.
    """

    def __init__(
        self, encoder: NamedEncoder, compute: Compute, seed: int, updates_batchnorm: bool = False
    ) -> None:
        """Build it on the device.

        Args:
            encoder: its weights are copied, so that it stays as it is.
            compute: where, and the dtype of activations.
            seed: of the decoder's weights.
            updates_batchnorm: see above.

        Raises:
            InputError: no segmentation_models_pytorch, or it does not know the architecture.
        """
        super().__init__()
        smp = require_smp()
        if encoder.arch not in smp.encoders.get_encoder_names():
            raise InputError(
                f"encoder {encoder.name!r} is a {encoder.arch}, of which "
                "segmentation_models_pytorch has no U-Net; evaluate it with task=classification"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.unet = smp.Unet(encoder.arch, encoder_weights=None)
        load_strictly(self.unet.encoder, dict(encoder.module.state_dict()), encoder.origin)
        self.unet.encoder.requires_grad_(False)
        self.updates_batchnorm = updates_batchnorm
        self._dtype = compute.dtype
        self.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def train(self, mode: bool = True) -> "FrozenUnet":
        """Set the decoder's mode; the encoder keeps BatchNorm's statistics unless told to."""
        super().train(mode)
        self.unet.encoder.train(mode and self.updates_batchnorm)
        return self

    def encode(self, images: Tensor) -> list[Tensor]:
        """Return the encoder's maps of normalised images (B, 3, H, W), from large to small."""
        with self._autocast(images.device):
            return self.unet.encoder(images)  # type: ignore[no-any-return]

    def decode(self, maps: list[Tensor]) -> Tensor:
        """Return logits (B, H, W) float32 of what ``encode`` gave."""
        with self._autocast(maps[0].device):
            logits = self.unet.segmentation_head(self.unet.decoder(maps))
        return logits[:, 0].float()  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, H, W) float32 of normalised images (B, 3, H, W)."""
        return self.decode(self.encode(images))

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, self._dtype, enabled=self._dtype != torch.float32)
