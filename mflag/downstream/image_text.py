"""The space in which a run's images meet its reports."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mflag.data.manifest import Prepared
from mflag.data.text_table import TextTable, load_text_table, reports_hash
from mflag.errors import InputError
from mflag.models.projector import load_projector

PROJECTOR = "projector.safetensors"
TEXT_PROJECTOR = "text_projector.safetensors"
TEXT_TABLE = "text_embeddings.safetensors"
TEXT_ENCODER = "text_encoder.safetensors"


@dataclass(frozen=True)
class ImageText:
    """What compares an encoder's features with text vectors.

    Attributes:
        folder: of the run.
        projector: (B, N) features → (B, E).
        text_projector: (B, D) text vectors → (B, E); None where texts are compared as they are.
        table: the frozen vectors of the run's reports.
    """

    folder: Path
    projector: nn.Module
    text_projector: nn.Module | None
    table: TextTable

    @torch.inference_mode()
    def of_images(self, features: np.ndarray) -> Tensor:
        """Return unit rows (n, E) float32 of features (n, N).

        Raises:
            InputError: the projector is of another encoder.
        """
        width = next(p.shape[1] for p in self.projector.parameters() if p.ndim == 2)
        if features.shape[1] != width:
            raise InputError(
                f"{self.folder / PROJECTOR} takes {width} features, but the encoder gives "
                f"{features.shape[1]}; keep both files of one run together"
            )
        return normalize(self.projector(torch.from_numpy(features).float()))

    @torch.inference_mode()
    def of_texts(self, vectors: Tensor) -> Tensor:
        """Return unit rows (m, E) float32 of unit text vectors (m, D), as in training."""
        vectors = vectors.float()
        if self.text_projector is not None:
            vectors = self.text_projector(vectors * math.sqrt(vectors.shape[1]))
        return normalize(vectors)

    def rows_of(self, prepared: Prepared) -> Tensor | None:
        """Return (n,) int64, manifest row to row of the table or -1; None for other reports."""
        same = self.table.metadata.get("text_hash") == reports_hash(prepared)
        return self.table.rows if same else None


def load_image_text(encoder: Path) -> ImageText:
    """Read what lies beside an ``encoder.safetensors``.

    Raises:
        InputError: the projector or the text vectors are missing or damaged, or the run trained
            its text encoder.
    """
    folder = encoder.parent
    projector = load_projector(folder / PROJECTOR)
    if (folder / TEXT_ENCODER).is_file():
        raise InputError(
            f"{folder} trained its text encoder, so its reports have no frozen vectors; take a run "
            "with text.unfreeze_last=0"
        )
    text_projector = None
    if (folder / TEXT_PROJECTOR).is_file():
        text_projector = load_projector(folder / TEXT_PROJECTOR)
    table = load_text_table(folder / TEXT_TABLE)
    return ImageText(folder, projector, text_projector, table)
