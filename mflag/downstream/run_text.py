"""The frozen text encoder of a finished run: new sentences in the space of its reports."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from mflag.config.text import TextConfig
from mflag.data.manifest import Prepared, open_prepared
from mflag.data.text_table import reports_hash
from mflag.data.text_vectors import TextSource, choose_text_source
from mflag.downstream.image_text import ImageText
from mflag.errors import InputError

CONFIG = "config.yaml"
# Reports from which centre and agreement are taken; many times what they need.
_SAMPLE = 256
# Between a vector made now and the one of the run: float16 leaves 1e-3.
_TOLERANCE = 0.01
# Of the vectors' mean length: what is shorter has no direction.
_ZERO = 1e-6


class RunText:
    """Embeds sentences as a run embedded its reports: same model, same centre, unit length."""

    def __init__(self, space: ImageText, prepared: Prepared, device: torch.device) -> None:
        """Find the text encoder and, where vectors depend on them, the run's reports.

        Args:
            space: of the run.
            prepared: data that may hold the run's reports; else those of its configuration do.
            device: where a language model runs.

        Raises:
            InputError: another or no text encoder than the run's, or its reports are not found.
        """
        self._space, self._device = space, str(device)
        config, path = _read_config(space.folder)
        self._source = choose_text_source(config)
        _check_identity(self._source, space)
        self._is_centred = space.table.metadata.get("center") == "true"
        self._reports: list[str] = []
        # Rows of the table whose reports are embedded again, and where in the reports each is.
        self._sample = self._known_at = np.zeros(0, np.int64)
        if self._source.identity["model"] == "lsa" or self._is_centred:
            self._read_reports(prepared, path)

    def embed(self, texts: Sequence[str]) -> tuple[Tensor, np.ndarray]:
        """Return unit vectors (m, D) float32, and (m,) bool: False where a text has none.

        Raises:
            InputError: the run's reports get other vectors than they have.
        """
        places, first = np.unique(self._sample, return_index=True)
        known = [self._reports[at] for at in self._known_at[first]] if len(places) else []
        made = self._source.embed([*known, *texts], self._training(), self._device).vectors
        vectors = made.astype(np.float64)
        if not np.isfinite(vectors).all():
            raise InputError(f"{self._source.identity['model']} gave non-finite text vectors")
        length = np.linalg.norm(vectors, axis=1)
        has_vector = (length > _ZERO * length.mean()) & np.array(
            [True] * len(known) + [bool(text.strip()) for text in texts]
        )
        if known:
            wanted = self._space.table.embeddings[torch.from_numpy(places)].double().numpy()
            if vectors.shape[1] != wanted.shape[1]:
                raise self._differs()
            if self._is_centred:
                vectors = vectors - centre_of(vectors[: len(known)], wanted)
            unit = _unit(vectors)
            if np.abs(unit[: len(known)] - wanted).max() > _TOLERANCE:
                raise self._differs()
        unit = _unit(vectors)[len(known) :]
        return torch.from_numpy(unit).float(), has_vector[len(known) :]

    def _read_reports(self, prepared: Prepared, path: str | None) -> None:
        own = _own_reports(self._space, prepared, path)
        column = own.column("text").cast(pa.large_string()).take(pa.array(own.rows("train")))
        self._reports = column.to_pylist()
        rows = self._space.table.rows[torch.from_numpy(own.rows("train"))].numpy()
        at = np.flatnonzero(rows >= 0)
        self._known_at = at[np.linspace(0, len(at) - 1, min(_SAMPLE, len(at))).astype(int)]
        self._sample = rows[self._known_at]

    def _training(self) -> list[str]:
        return self._reports if self._source.identity["model"] == "lsa" else []

    def _differs(self) -> InputError:
        return InputError(
            f"the text encoder here gives the reports of {self._space.folder} other vectors than "
            "the run's; use the versions that its model_card.md names"
        )


def centre_of(vectors: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Return the centre m for which every (v − m) points along its u, by least squares.

    A table keeps (v − m) / ‖v − m‖ and not m. Minimal Σ ‖(I − u uᵀ)(v − m)‖² solves
    (k I − Σ u uᵀ) m = Σ (v − u uᵀ v).

    Args:
        vectors: (k, D) float64, v.
        unit: (k, D) float64, u, rows of length 1.
    """
    k, width = vectors.shape
    along = (vectors * unit).sum(1, keepdims=True)
    matrix = k * np.eye(width) - unit.T @ unit
    centre: np.ndarray = np.linalg.lstsq(matrix, (vectors - along * unit).sum(0), rcond=None)[0]
    return centre


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def _read_config(folder: Path) -> tuple[TextConfig, str | None]:
    """The run's text configuration, and where its data were."""
    path = folder / CONFIG
    if not path.is_file():
        raise InputError(f"{path} is missing; it says which text encoder the run used")
    try:
        settings: Any = OmegaConf.to_container(OmegaConf.load(path))
        text, place = dict(settings["text"]), settings["data"].get("path")
        known = {field.name for field in dataclasses.fields(TextConfig)}
        return TextConfig(**{str(k): v for k, v in text.items() if k in known}), place
    except (OmegaConfBaseException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error})") from error


def _check_identity(source: TextSource, space: ImageText) -> None:
    made = space.table.metadata
    for name, value in source.identity.items():
        if made.get(name) != value:
            raise InputError(
                f"the text encoder of {space.folder} had {name} {made.get(name)!r}, but here it "
                f"is {value!r}; install or point text.path to that one"
            )


def _own_reports(space: ImageText, prepared: Prepared, path: str | None) -> Prepared:
    wanted = space.table.metadata.get("text_hash")
    if reports_hash(prepared) == wanted:
        return prepared
    place = Path(path) if path else space.folder / "data"
    if place.is_dir():
        own = open_prepared(place)
        if reports_hash(own) == wanted:
            return own
    raise InputError(
        f"the reports that {space.folder} was trained on are not in {prepared.path} and not in "
        f"{place}; its text vectors depend on them, so put the prepared data there"
    )
