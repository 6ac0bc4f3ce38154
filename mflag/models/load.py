"""``load_encoder``: from a file to a module."""

import json
from pathlib import Path

from torch import nn

from mflag.models.encoder import build_encoder, load_strictly
from mflag.models.encoder_file import read_encoder_file


def load_encoder(path: Path | str) -> nn.Module:
    """Return the encoder of a file in eval mode: (B, 3, H, W) → (B, embedding_dim), float32.

    The module carries ``metadata``: arch, image_size (pixels), mean, std, embedding_dim, dataset
    (what it was trained on; None where the file does not say).

    Raises:
        InputError: the file is missing, junk, of another format or architecture.
    """
    metadata, tensors = read_encoder_file(path)
    encoder = build_encoder(metadata["arch"])
    load_strictly(encoder, tensors, str(path))
    encoder.metadata = {  # type: ignore[assignment]
        "arch": metadata["arch"],
        "image_size": int(metadata["image_size"]),
        "mean": json.loads(metadata["mean"]),
        "std": json.loads(metadata["std"]),
        "embedding_dim": int(metadata["embedding_dim"]),
        "dataset": metadata.get("dataset"),
    }
    return encoder.eval()
