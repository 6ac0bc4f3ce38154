"""The text encoder of a finished run: new sentences in the space of its reports."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mflag.config.text import TextConfig
from mflag.data.manifest import Prepared, open_prepared
from mflag.data.text_table import TextTable, reports_hash
from mflag.data.text_vectors import choose_text_source, embed_with_model, find_language_model
from mflag.downstream.image_text import TEXT_ENCODER, ImageText
from mflag.errors import InputError
from mflag.models.encoder import load_strictly
from mflag.models.text_encoder import load_text_encoder
from mflag.models.text_folder import weights_sha256
from mflag.models.text_hub import published_lower_case

CONFIG = "config.yaml"
# Reports from which centre and agreement are taken; many times what they need.
_SAMPLE = 256
# Between a vector made now and the one of the run: float16 leaves 1e-3.
_TOLERANCE = 0.01
# Of the vectors' mean length: what is shorter has no direction.
_ZERO = 1e-6


class RunText(Protocol):
    """Embeds sentences as a run embedded its reports."""

    def embed(self, texts: Sequence[str]) -> tuple[Tensor, np.ndarray]:
        """Return vectors (m, D) float32 for ``ImageText.of_texts``, and (m,) bool: has a vector."""


def open_run_text(space: ImageText, prepared: Prepared, device: torch.device) -> RunText:
    """Find the text encoder of a run.

    Args:
        space: of the run.
        prepared: data that may hold the run's reports.
        device: where a language model runs.

    Raises:
        InputError: another or no text encoder than the run's, or its reports are not found.
    """
    return TunedText(space, device) if space.table is None else FrozenText(space, prepared, device)


def report_vectors(
    space: ImageText, prepared: Prepared, rows: np.ndarray, device: torch.device
) -> tuple[Tensor, np.ndarray]:
    """Return (n, E) unit rows of the reports of some images, and (n,) bool: has a vector.

    The run's own table is used where it is of these reports.

    Args:
        space: of the run.
        prepared: the data.
        rows: (n,) row numbers.
        device: where a language model runs.

    Raises:
        InputError: see ``open_run_text``.
    """
    places = space.rows_of(prepared)
    if places is not None and space.table is not None:
        places = places[torch.from_numpy(rows)]
        vectors, has_vector = space.table.embeddings[places.clamp(min=0)], (places >= 0).numpy()
    else:
        column = prepared.column("text").cast(pa.large_string()).take(pa.array(rows))
        encoded = column.combine_chunks().dictionary_encode()
        distinct = open_run_text(space, prepared, device).embed(encoded.dictionary.to_pylist())
        of_row = encoded.indices.to_numpy().astype(np.int64)
        vectors, has_vector = distinct[0][torch.from_numpy(of_row)], distinct[1][of_row]
    return space.of_texts(vectors) * torch.from_numpy(has_vector)[:, None], has_vector


class FrozenText:
    """Embeds by the frozen encoder of a run: same model, same centre, unit length."""

    def __init__(self, space: ImageText, prepared: Prepared, device: torch.device) -> None:
        """Find the text encoder and, where vectors depend on them, the run's reports.

        Args:
            space: of the run.
            prepared: data that may hold the run's reports; else those of its configuration do.
            device: where a language model runs.

        Raises:
            InputError: another or no text encoder than the run's, or its reports are not found.
        """
        assert space.table is not None
        self._folder, self._table, self._device = space.folder, space.table, str(device)
        config, path = _read_config(space.folder)
        self._source = choose_text_source(config)
        self._check_identity()
        self._is_centred = self._table.metadata.get("center") == "true"
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
            wanted = self._table.embeddings[torch.from_numpy(places)].double().numpy()
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
        own = _own_reports(self._folder, self._table, prepared, path)
        column = own.column("text").cast(pa.large_string()).take(pa.array(own.rows("train")))
        self._reports = column.to_pylist()
        rows = self._table.rows[torch.from_numpy(own.rows("train"))].numpy()
        at = np.flatnonzero(rows >= 0)
        self._known_at = at[np.linspace(0, len(at) - 1, min(_SAMPLE, len(at))).astype(int)]
        self._sample = rows[self._known_at]

    def _check_identity(self) -> None:
        identity, made = self._source.identity, self._table.metadata
        # Whether another scikit-learn gives the same vectors is seen from the vectors.
        is_lsa = identity["model"] == made.get("model") == "lsa"
        for name, value in identity.items():
            if made.get(name) != value and not (is_lsa and name == "revision"):
                raise InputError(
                    f"the text encoder of {self._folder} had {name} {made.get(name)!r}, but here "
                    f"it is {value!r}; install or point text.path to that one"
                )

    def _training(self) -> list[str]:
        return self._reports if self._source.identity["model"] == "lsa" else []

    def _differs(self) -> InputError:
        return InputError(
            f"the text encoder here gives the reports of {self._folder} other vectors than "
            "the run's; use the versions that its model_card.md names"
        )


class TunedText:
    """Embeds by the text encoder that a run trained, minus the centre that it was trained with."""

    def __init__(self, space: ImageText, device: torch.device) -> None:
        """Load the base that the run's configuration names, and the run's weights into it.

        Args:
            space: of the run.
            device: where the model runs.

        Raises:
            InputError: the base is missing or another one, or the weights are damaged.
        """
        path = space.folder / TEXT_ENCODER
        config, _ = _read_config(space.folder)
        model = find_language_model(config)
        if model is None:
            raise InputError(f"{space.folder / CONFIG} names no language model, but {path} is one")
        name, base = model
        try:
            with safe_open(path, "pt") as file:
                made = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}
            center = json.loads(made["center"])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise InputError(f"{path} is no text encoder of mflag.train ({error})") from error
        if made.get("base_sha256") != weights_sha256(base):
            raise InputError(
                f"{path} was trained from other weights of {made.get('base')!r} than those of "
                f"{name!r} in {base}; point text.path of {space.folder / CONFIG} to that folder"
            )
        lower_case = published_lower_case(config.name)
        self._encoder = load_text_encoder(
            base, config.pooling, config.max_length, lower_case=lower_case
        )
        load_strictly(self._encoder.model, tensors, str(path))
        self._encoder.model.to(device)
        self._center = None if center is None else np.array(center, np.float32)

    def embed(self, texts: Sequence[str]) -> tuple[Tensor, np.ndarray]:
        """Return vectors (m, D) float32, and (m,) bool: False for empty texts."""
        vectors, _ = embed_with_model(self._encoder, texts)
        if self._center is not None:
            vectors = vectors - self._center
        return torch.from_numpy(vectors), np.array([bool(text.strip()) for text in texts])


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


def _own_reports(folder: Path, table: TextTable, prepared: Prepared, path: str | None) -> Prepared:
    wanted = table.metadata.get("text_hash")
    if reports_hash(prepared) == wanted:
        return prepared
    place = Path(path) if path else folder / "data"
    if place.is_dir():
        own = open_prepared(place)
        if reports_hash(own) == wanted:
            return own
    raise InputError(
        f"the reports that {folder} was trained on are not in {prepared.path} and not in {place}; "
        "its text vectors depend on them, so put the prepared data there"
    )
