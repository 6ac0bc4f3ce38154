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
from mflag.downstream.encoders import NamedEncoder
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
        table: the frozen vectors of the run's reports; None where its text encoder trained.
    """

    folder: Path
    projector: nn.Module
    text_projector: nn.Module | None
    table: TextTable | None

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
        """Return unit rows (m, E) float32 of text vectors, as in training.

        Args:
            vectors: (m, D) of the table or of ``run_text``.
        """
        vectors = vectors.float()
        if self.text_projector is not None:
            # A frozen vector has length 1; a language model's, after LayerNorm, about √D.
            scale = 1.0 if self.table is None else math.sqrt(vectors.shape[1])
            vectors = self.text_projector(vectors * scale)
        return normalize(vectors)

    def rows_of(self, prepared: Prepared) -> Tensor | None:
        """Return (n,) int64, manifest row to row of the table or -1; None without one of these."""
        if self.table is None:
            return None
        same = self.table.metadata.get("text_hash") == reports_hash(prepared)
        return self.table.rows if same else None


def load_image_text(encoder: Path) -> ImageText:
    """Read what lies beside an ``encoder.safetensors``.

    Raises:
        InputError: the projector or the text vectors are missing or damaged.
    """
    folder = encoder.parent
    projector = load_projector(folder / PROJECTOR)
    text_projector = None
    if (folder / TEXT_PROJECTOR).is_file():
        text_projector = load_projector(folder / TEXT_PROJECTOR)
    has_trained = (folder / TEXT_ENCODER).is_file()
    table = None if has_trained else load_text_table(folder / TEXT_TABLE)
    return ImageText(folder, projector, text_projector, table)


def spaces_of(encoders: list[NamedEncoder]) -> tuple[dict[str, ImageText], list[str]]:
    """Return the space of each encoder that has one, by name, and why others have none.

    Raises:
        InputError: no encoder has one.
    """
    found, notes = {}, []
    last: InputError | None = None
    for encoder in encoders:
        if encoder.file is None:
            notes.append(
                f"no row for {encoder.name}: a baseline has no projector; chance stands in its "
                "place"
            )
            continue
        try:
            found[encoder.name] = load_image_text(encoder.file)
        except InputError as error:
            last = error
            notes.append(f"no row for {encoder.name}: {error}")
    if not found and last is not None:
        raise last
    return found, notes
